"""A run beside its prediction."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.compare import compare
from runtime.result import StepMetrics
from runtime.run_dir import RunDir
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.base import Basis
from simulator.spec.cluster import Calibration
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile, inputs_sha256

STEADY = StepMetrics(
    step=1,
    loss=3.0,
    grad_norm=1.0,
    learning_rate=1e-3,
    step_s=1.25,
    data_s=0.05,
    forward_backward_s=1.0,
    optimizer_s=0.2,
    tokens_per_s=8e5,
    peak_memory_bytes=2e10,
)


def leave_run(place: Path, plan_file: PlanFile, steps: list[StepMetrics]) -> RunDir:
    run_dir = RunDir(place)
    place.mkdir(exist_ok=True)
    write_plan_file(run_dir.plan, plan_file)
    run_dir.metrics.write_text("".join(step.to_json() + "\n" for step in steps))
    events = [("start", 100.0), ("end", 130.0)]
    run_dir.events.write_text(
        "".join(
            json.dumps({"time_s": time_s, "event": event, "rank": 0, "pid": 7}) + "\n"
            for event, time_s in events
        )
    )
    return run_dir


def steps(n: int = 10, *, first_s: float = 9.0, step_s: float = 1.25) -> list[StepMetrics]:
    """A slow first step, then steady ones."""
    steady = replace(STEADY, step_s=step_s)
    return [replace(steady, step=1, step_s=first_s, forward_backward_s=first_s - 0.25)] + [
        replace(steady, step=step) for step in range(2, n + 1)
    ]


def with_basis(plan_file: PlanFile, basis: Basis, *, step_scale: float) -> PlanFile:
    step = plan_file.prediction.step.model_copy(update={"basis": basis})
    prediction = plan_file.prediction.model_copy(update={"step": step})
    calibration = Calibration(date="2026-11-25", step_scale=step_scale)
    cluster = plan_file.scenario.cluster.model_copy(update={"calibration": calibration})
    scenario = plan_file.scenario.model_copy(update={"cluster": cluster})
    sha256 = inputs_sha256(scenario)
    provenance = plan_file.provenance.model_copy(update={"inputs_sha256": sha256})
    return plan_file.model_copy(
        update={"prediction": prediction, "scenario": scenario, "provenance": provenance}
    )


def test_warm_up_is_left_out_and_parts_add_up(tmp_path: Path, example_plan_file: PlanFile) -> None:
    leave_run(tmp_path, example_plan_file, steps())
    comparison = compare(tmp_path)
    assert (comparison.n_steps, comparison.n_warmup_steps) == (10, 2)
    assert comparison.step_s.measured == pytest.approx(1.25)
    assert comparison.step_s.predicted == 1.0
    assert comparison.step_s.interval == (0.9, 1.1)
    assert comparison.step_s.error == pytest.approx(-0.2)
    parts = {part.name: part for part in comparison.parts}
    assert sum(part.predicted_s for part in comparison.parts) == pytest.approx(1.0)
    assert sum(part.measured_s for part in comparison.parts) == pytest.approx(1.25)
    assert parts["optimizer"].measured_s == pytest.approx(0.2)
    assert comparison.differs_most == "optimizer"
    assert comparison.peak_memory_bytes.measured == 2e10


def test_goodput_counts_the_time_before_the_first_step(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    leave_run(tmp_path, example_plan_file, steps(first_s=3.75))
    assert compare(tmp_path).goodput.measured == pytest.approx((3.75 + 9 * 1.25) / 30)


def test_comparison_json_is_what_the_contract_says(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    leave_run(tmp_path, example_plan_file, steps())
    comparison = compare(tmp_path)
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written == comparison.model_dump(mode="json")
    assert {"version", "step_s", "peak_memory_bytes", "goodput", "parts"} <= set(written)
    assert {"predicted", "interval", "measured"} <= set(written["step_s"])
    assert set(written["parts"][0]) == {"name", "predicted_s", "measured_s"}


def test_far_off_and_uncalibrated_says_calibrate(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    leave_run(tmp_path, example_plan_file, steps())
    assert "armillary calibrate" in compare(tmp_path).suggestion


def test_far_off_and_calibrated_says_by_how_much(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    plan_file = with_basis(example_plan_file, Basis.MEASURED, step_scale=1.1)
    leave_run(tmp_path, plan_file, steps())
    comparison = compare(tmp_path)
    assert comparison.step_scale == pytest.approx(1.1 * 1.25)
    assert "1.38 times what its kernels say" in comparison.suggestion


def test_near_enough_says_nothing_to_change(tmp_path: Path, example_plan_file: PlanFile) -> None:
    leave_run(tmp_path, example_plan_file, steps(step_s=1.05))
    assert compare(tmp_path).suggestion == "the prediction holds"


def test_a_folder_without_a_run_is_refused(tmp_path: Path, example_plan_file: PlanFile) -> None:
    with pytest.raises(InputError, match=r"plan\.json is missing"):
        compare(tmp_path)
    leave_run(tmp_path, example_plan_file, [])
    with pytest.raises(InputError, match="no step was measured"):
        compare(tmp_path)


def test_a_foreign_plan_is_refused(tmp_path: Path, example_plan_file: PlanFile) -> None:
    run_dir = leave_run(tmp_path, example_plan_file, steps())
    run_dir.plan.write_text('{"kind": "something-else"}')
    with pytest.raises(InputError, match="not a plan file"):
        compare(tmp_path)


@pytest.mark.parametrize("file", ["events", "metrics"])
@pytest.mark.parametrize(
    "line", ["not json", "[1, 2]", "{}", '{"time_s": NaN, "event": "start", "pid": 1}', "9" * 5000]
)
def test_a_foreign_line_is_refused_with_its_place(
    file: str, line: str, tmp_path: Path, example_plan_file: PlanFile
) -> None:
    run_dir = leave_run(tmp_path, example_plan_file, steps())
    path: Path = getattr(run_dir, file)
    n_lines = len(path.read_text().splitlines())
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(InputError, match=f"not a line of {file}") as refused:
        compare(tmp_path)
    assert refused.value.where == f"{path}:{n_lines + 1}"
    assert not run_dir.comparison.exists()
