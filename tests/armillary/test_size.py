"""`armillary size`: one screen, CSV, JSON, and questions that are none."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import armillary
from armillary import cli
from armillary.options import Asked
from armillary.screens.command_line import folded
from planner.size import Sizing
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec

FLAGS = ("--model", "llama3-8b", "--cluster", "h100-sxm:16", "--tokens", "100B", "--batch", "96")


def run(*arguments: str | Path) -> str:
    words = ["size", *map(str, arguments)]
    return CliRunner().invoke(cli._application(), words, catch_exceptions=False).stdout


def test_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    screen = run(
        *FLAGS, "--finish-within", "3d", "--devices", "h100-sxm,h200", "--table", "sizes.csv"
    )
    lines = screen.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert "time: the least of those shown" in screen
    assert "within 3 d" in " ".join(lines)
    for word in (
        "number",
        "cost",
        "energy",
        "time",
        "plans, and between",
        "next: armillary plan",
    ):
        assert word in screen
    assert (
        (tmp_path / "sizes.csv")
        .read_text()
        .startswith("device,n_devices,paid_devices,plan,step_s,step_s_low,step_s_high,")
    )


def test_json_and_python_say_the_same() -> None:
    file = "scenarios/llama3-70b-on-64-h100.yaml"
    answer = Sizing.model_validate_json(run(file, "--finish-within", "60d", "--json"))
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


def test_the_next_command_plans_the_cheapest(tmp_path: Path) -> None:
    asked = (*FLAGS, "--finish-in", "3d", "--set", "limits.tp=2")
    command = run(*asked).partition("next: ")[2].replace("\\\n", "")
    assert command.startswith("armillary plan ")
    words = [*shlex.split(command)[1:], "--json", "--out", str(tmp_path)]
    plans = json.loads(CliRunner().invoke(cli._application(), words).stdout)["plans"]
    cheapest = Sizing.model_validate_json(run(*asked, "--json")).cheapest
    assert cheapest is not None
    assert PlanSpec.model_validate(plans[0]["plan"]).n_ranks == cheapest.n_devices
    assert plans[0]["plan"]["tp"] == 2


def test_the_next_command_keeps_a_drawn_fabric(tmp_path: Path) -> None:
    """Some of the four nodes of eight that one switch joins."""
    row = "  - {{ends: [node-{}, leaf], bandwidth_bytes_per_s: 1600 Gb/s}}\n"
    (tmp_path / "fabric.yaml").write_text("links:\n" + "".join(map(row.format, range(4))))
    drawn = f"h100-sxm@graph:{tmp_path / 'fabric.yaml'}"
    asked = ("--model", "llama3-8b", "--cluster", drawn, "--tokens", "10B", "--devices", "h200")
    command = run(*asked, "--finish-in", "14h").partition("next: ")[2].replace("\\\n", "")
    words = [*shlex.split(command)[1:], "--json", "--out", str(tmp_path)]
    assert drawn in words
    assert "cluster.device=h200-sxm-141gb" in words
    (nodes,) = (int(each[14:]) for each in words if each.startswith("cluster.nodes="))
    plans = json.loads(CliRunner().invoke(cli._application(), words).stdout)["plans"]
    assert PlanSpec.model_validate(plans[0]["plan"]).n_ranks == 8 * nodes


def test_a_question_of_a_file_is_asked_again_of_it() -> None:
    asked = Asked(file=Path("a b.yaml"), finish_within="3d", overrides=("limits.tp=2",))
    assert asked.words(cluster="h100-sxm:8") == [
        "a b.yaml", "--cluster", "h100-sxm:8", "--finish-within", "3d", "--set", "limits.tp=2",
    ]  # fmt: skip


def test_a_long_command_is_folded_as_a_shell_reads_it() -> None:
    words = ["armillary", "plan", *("--set", "limits.recompute=full") * 5, "a b"]
    text = folded(words, indent="next: ")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.endswith("\\") for line in lines[:-1])
    assert shlex.split(text.removeprefix("next: ").replace("\\\n", "")) == words
