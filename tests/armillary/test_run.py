"""What `armillary run --json` prints."""

import json
from pathlib import Path

from armillary.answers import RunAnswer
from runtime.compare import compare
from runtime.result import RunResult, read_metrics
from simulator.spec.plan_file import PlanFile
from tests.runtime.test_compare import leave_run, steps


def test_json_holds_the_comparison(tmp_path: Path, example_plan_file: PlanFile) -> None:
    place = leave_run(tmp_path, example_plan_file, steps())
    comparison = compare(tmp_path)
    result = RunResult(run_dir=tmp_path, steps=read_metrics(place.metrics))
    answer = json.loads(RunAnswer.of(result, comparison).model_dump_json())
    assert answer["version"] == 1
    assert answer["n_steps"] == 10
    assert answer["step_s"] == answer["comparison"]["step_s"]["measured"] == 1.25
    assert answer["comparison"] == json.loads(place.comparison.read_text())
