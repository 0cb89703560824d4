"""What Prometheus reads."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from runtime.prometheus import CONTENT_TYPE, Exporter
from runtime.run_dir import RunDir, append_event
from simulator.spec.errors import InputError
from tests.runtime.test_compare import STEADY


def test_the_last_step_and_all_events_are_served(tmp_path: Path) -> None:
    append_event(RunDir(tmp_path), "restart")
    with Exporter(0, tmp_path) as exporter:
        exporter.step(STEADY)
        place = f"http://127.0.0.1:{exporter.port}"
        with urllib.request.urlopen(f"{place}/metrics") as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            lines = answer.read().decode().splitlines()
        with pytest.raises(urllib.error.HTTPError, match="404") as raised:
            urllib.request.urlopen(f"{place}/else")
        raised.value.close()
    assert "armillary_step_s 1.25" in lines
    assert "# TYPE armillary_loss gauge" in lines
    assert 'armillary_events_total{event="restart"} 1' in lines


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with (
        Exporter(0, tmp_path) as first,
        pytest.raises(InputError, match=f"port {first.port} cannot be used"),
    ):
        Exporter(first.port, tmp_path)
