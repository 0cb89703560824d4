"""`armillary export`: where files go, what is written over, and what the screen says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armillary import cli
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.errors import InputError
from tests.planner.export.plans import plan_file


def export(*words: object) -> str:
    arguments = ["export", *map(str, words)]
    return CliRunner().invoke(cli._application(), arguments, catch_exceptions=False).stdout


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "answers" / "plan.json"
    path.parent.mkdir()
    write_plan_file(path, plan_file("ddp"))
    return path


def test_an_export_goes_beside_its_plan(plan: Path) -> None:
    screen = export(plan, "--to", "megatron")
    folder = plan.parent / "export-megatron"
    assert sorted(path.name for path in folder.iterdir()) == [
        "job.sbatch", "launch.sh", "megatron.args",
    ]  # fmt: skip
    assert f"start: cd {folder} && " in screen


def test_the_screen_says_what_is_left_to_the_user(plan: Path) -> None:
    lines = export(plan, "--to", "megatron").splitlines()
    assert "you must set: run.learning_rate: --lr, else none: launch.sh asks for it" in lines
    assert "assumed: no dropout" in lines
    answer = json.loads(export(plan, "--to", "megatron", "--json"))
    for name, label in (
        ("dropped", "not expressed"), ("to_set", "you must set"), ("assumed", "assumed"),
        ("needs", "needs"),
    ):  # fmt: skip
        assert [f"{label}: {what}" for what in answer[name]] == [
            line for line in lines if line.startswith(f"{label}:")
        ]
        assert answer[name]


def test_nothing_else_is_written_over_unless_forced(plan: Path) -> None:
    export(plan, "--to", "megatron")
    export(plan, "--to", "megatron")  # the same again
    folder = plan.parent / "export-megatron"
    mine = (folder / "megatron.args").read_text() + "--lr 3e-4\n"
    (folder / "megatron.args").write_text(mine)
    (folder / "launch.sh").unlink()
    with pytest.raises(
        InputError, match="there is a file here that holds something else"
    ) as caught:
        export(plan, "--to", "megatron")
    assert caught.value.where == str(folder / "megatron.args")
    assert (folder / "megatron.args").read_text() == mine
    assert not (folder / "launch.sh").exists()  # refused before anything is written
    export(plan, "--to", "megatron", "--force")
    assert (folder / "megatron.args").read_text() != mine
    assert (folder / "launch.sh").exists()
