"""What `armillary run` prints, and the same in Python."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import armillary
from armillary.answers import RunAnswer
from armillary.screens.live import LiveView, sparkline
from armillary.screens.run import run_screen
from armillary.training import Training, TrainingOptions
from runtime.compare import compare
from runtime.result import RunResult, StepMetrics, read_metrics
from runtime.run_dir import RunDir, append_event
from runtime.step_split import split_lines
from runtime.supervise import Recovery
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file
from tests.runtime.test_compare import leave_run, steps


def test_json_holds_the_comparison(tmp_path: Path, example_plan_file: PlanFile) -> None:
    place = leave_run(tmp_path, example_plan_file, steps())
    comparison = compare(tmp_path)
    result = RunResult(run_dir=tmp_path, steps=read_metrics(place.metrics))
    given = RunAnswer.of(result, comparison)
    answer = json.loads(given.model_dump_json())
    assert answer["version"] == 1
    assert answer["n_steps"] == 10
    assert answer["step_s"] == answer["comparison"]["step_s"]["measured"] == 1.25
    assert answer["comparison"] == json.loads(place.comparison.read_text())
    assert list(given.to_frame()["step"]) == list(range(1, 11))
    screen = run_screen(given)
    assert "3.0000 in step 1 -> 3.0000 in step 10" in screen
    assert "1.25 s (median of steps 3 to 10)" in screen


@pytest.mark.ranks
def test_a_run_from_python_recovers_from_faults(tmp_path: Path) -> None:
    """The rank is killed at once, and starts again."""
    (tmp_path / "faults.csv").write_text("node,start,end,class\n0,0.001,0.002,hbm\n")
    seen: list[StepMetrics] = []
    answer = armillary.run(
        plan_file(fp32(), run=RunSpec(profile_every_steps=1)),
        steps=3,
        run_dir=tmp_path / "run",
        faults=tmp_path / "faults.csv",
        on_step=seen.append,
    )
    assert isinstance(answer, RunAnswer)
    assert [step.loss for step in seen] == list(answer.losses)
    assert '"restart"' in (tmp_path / "run" / "events.jsonl").read_text()
    assert (tmp_path / "run" / "report.html").exists()
    (split,) = split_lines(tmp_path / "run" / "splits.jsonl").new()
    assert (split.step, split.rank) == (3, 0)
    assert split.compute_s > 0
    assert {part.name for part in answer.comparison.parts} >= {"compute", "optimizer"}


def test_the_live_view_shows_step_and_trend(tmp_path: Path, example_plan_file: PlanFile) -> None:
    training = Training(
        plan_file=example_plan_file,
        options=TrainingOptions(steps=10),
        run_dir=tmp_path,
        recovery=Recovery(),
    )
    append_event(RunDir(tmp_path), "restart")
    screen = Console(width=100, record=True, file=StringIO())
    view = LiveView(training, screen)
    with view:
        for step in steps(3):
            view.step(step)
    text = screen.export_text()
    assert "3 of 10" in text
    assert "1 restart" in text
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▁▁"
