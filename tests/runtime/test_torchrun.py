"""A rank under plain torchrun: what it refuses, and an exported launch that is started again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from armillary.exporting import write_export
from planner.export import find_exporter
from runtime.result import read_metrics
from runtime.run_dir import RunDir, read_events
from runtime.torchrun import main
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file

TWO_RANKS = plan_file(fp32(dp_replicate=2), run=RunSpec(steps=2, checkpoint_every_steps=1))
RANK = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}


@pytest.fixture
def plan_path(tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    write_plan_file(path, TWO_RANKS)
    return str(path)


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in (*RANK, "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("arguments", [[], ["plan.json"], ["plan.json", "run", "--resumed"]])
def test_other_arguments_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, RANK)
    assert main(arguments) == 2
    assert "PLAN RUN_DIR [--resume]" in capsys.readouterr().err


def test_without_torchrun_is_refused(
    plan_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_environment(monkeypatch, {})
    assert main([plan_path, "run"]) == 2
    printed = capsys.readouterr().err
    assert "lacks it: 'RANK'" in printed
    assert "armillary run PLAN" in printed


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        (TWO_RANKS, {"WORLD_SIZE": "3"}, "torchrun started 3 ranks, and the plan has 2"),
        (
            plan_file(fp32(dp_replicate=2, precision="fp8")),
            {},
            "armillary cannot run precision fp8",
        ),
    ],
)
def test_plan_of_another_job_is_refused(
    file: PlanFile,
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_plan_file(tmp_path / "plan.json", file)
    set_environment(monkeypatch, RANK | environment)
    assert main([str(tmp_path / "plan.json"), str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_is_refused(
    plan_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_environment(monkeypatch, RANK)
    assert main([plan_path, str(tmp_path)]) == 2  # the plan itself makes it one
    assert "there is a run here already" in capsys.readouterr().err


def start(launch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(launch), *arguments],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.ranks
def test_an_exported_launch_runs_once_and_goes_on_when_told(tmp_path: Path) -> None:
    launch = tmp_path / "launch.sh"
    scenario = TWO_RANKS.scenario
    two_steps = scenario.job.model_copy(update={"tokens": 2 * scenario.job.batch_tokens})
    whole_job = TWO_RANKS.asked(scenario.model_copy(update={"job": two_steps}))
    write_export(find_exporter("torchrun").export(whole_job), tmp_path)
    first = start(launch)
    assert first.returncode == 0, first.stderr
    place = RunDir(tmp_path / "run")
    metrics = place.metrics.read_bytes()
    assert [step.step for step in read_metrics(place.metrics)] == [1, 2]

    again = start(launch)
    assert again.returncode != 0
    assert "there is a run here already; go on with --resume" in again.stderr
    assert place.metrics.read_bytes() == metrics

    resumed = start(launch, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert place.metrics.read_bytes() == metrics  # no step was left to do
    assert [event.event for event in read_events(place) if event.rank == 1].count("resume") == 1
