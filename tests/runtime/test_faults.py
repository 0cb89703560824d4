"""Outages done to ranks: whom they kill, and whom not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.faults import FaultInjector
from runtime.run_dir import RunDir, read_events
from simulator.spec.errors import InputError
from simulator.spec.reliability import Outage


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """A process to kill."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def leave_events(place: RunDir, pid: int, *names: str) -> None:
    with place.events.open("a") as file:
        for name in names:
            file.write(json.dumps({"time_s": 1.0, "event": name, "rank": 0, "pid": pid}) + "\n")


def struck(place: RunDir) -> FaultInjector:
    """An injector whose outage begins at its second look."""
    times_s = iter((0.0, 2.0))
    outages = (Outage(node=0, start_s=1.0, end_s=9.0),)
    injector = FaultInjector(outages, place, lambda: next(times_s))
    injector.begin((0,))
    return injector


@pytest.mark.parametrize(("names", "dies"), [(("start",), True), (("start", "end"), False)])
def test_a_rank_is_killed_unless_it_has_ended(
    names: tuple[str, ...], dies: bool, rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place = RunDir(tmp_path)
    injector = struck(place)
    leave_events(place, rank.pid, *names)
    injector()
    assert rank.poll() is None
    injector()
    if dies:
        assert rank.wait(10) == -9
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            rank.wait(0.2)


@pytest.mark.parametrize("pid", [1, 0, -1, -4242])
def test_a_pid_that_names_more_than_a_rank_is_refused(pid: int, tmp_path: Path) -> None:
    place = RunDir(tmp_path)
    leave_events(place, pid, "start")
    with pytest.raises(InputError, match="not a line of events"):
        read_events(place)
