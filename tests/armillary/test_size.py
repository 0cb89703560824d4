"""`armillary size`: one screen, CSV, JSON, and questions that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import armillary
from armillary import cli
from planner.size import Sizing
from simulator.spec.errors import InputError

FLAGS = ("--model", "llama3-8b", "--cluster", "h100-sxm:16", "--tokens", "100B", "--batch", "96")


def run(*arguments: str | Path) -> str:
    words = ["size", *map(str, arguments)]
    return CliRunner().invoke(cli._application(), words, catch_exceptions=False).stdout


def test_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    screen = run(*FLAGS, "--finish-in", "3d", "--devices", "h100-sxm,h200", "--table", "sizes.csv")
    lines = screen.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert "within 3 d" in " ".join(lines)
    for word in ("number", "cost", "energy", "time", "plans", "next: armillary plan"):
        assert word in screen
    assert (tmp_path / "sizes.csv").read_text().startswith("device,n_devices,plan,step_s,")


def test_json_and_python_say_the_same() -> None:
    file = "scenarios/llama3-70b-on-64-h100.yaml"
    answer = Sizing.model_validate_json(run(file, "--finish-in", "60d", "--json"))
    assert answer == armillary.size(file, finish_within=60 * 86400.0)
    assert answer.version == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "neither a deadline nor a budget"),
        (("--finish-in", "soon"), "not a duration"),
        (("--finish-in", "3d", "--devices", "h2000"), "unknown device 'h2000'"),
    ],
)
def test_no_question(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*FLAGS, *arguments)
