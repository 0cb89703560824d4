"""What a cluster learns from its runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from armillary.cli import main
from runtime.calibrate.update import learned
from runtime.compare import compare
from simulator.campaign.predict import predict
from simulator.catalog.cluster import parse_cluster, read_cluster_file, write_cluster_file
from simulator.spec.cluster import Calibration, ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile
from tests.runtime.plans import fp32, plan_file
from tests.runtime.test_compare import leave_run, steps

MEASURED = parse_cluster("cpu:2").model_copy(update={"calibration": Calibration(date="2026-11-25")})


def planned_on(cluster: ClusterSpec) -> PlanFile:
    """A plan of that cluster with its own prediction."""
    file = plan_file(fp32(dp_replicate=2))
    scenario = file.scenario.model_copy(update={"cluster": cluster})
    return file.asked(scenario).model_copy(update={"prediction": predict(scenario, file.plan)})


def test_the_next_prediction_is_inside_its_interval(tmp_path: Path) -> None:
    before = planned_on(MEASURED)
    predicted_s = before.prediction.step.step_s
    leave_run(tmp_path, before, steps(step_s=3 * predicted_s))
    comparison = compare(tmp_path)
    assert comparison.step_s.error == pytest.approx(1 / 3 - 1)
    after = planned_on(learned(MEASURED, tmp_path, comparison, where="machine.yaml"))
    assert after.prediction.step.step_s == pytest.approx(3 * predicted_s, rel=0.01)
    low, high = after.prediction.step.interval_step_s.ends
    assert low < 3 * predicted_s < high


def test_runs_count_alike(tmp_path: Path) -> None:
    cluster, predicted_s = MEASURED, planned_on(MEASURED).prediction.step.step_s
    scales = []
    for number, factor in enumerate((2.0, 8.0)):
        place = tmp_path / str(number)
        done = steps(first_s=9.0 + number, step_s=factor * predicted_s)
        leave_run(place, planned_on(MEASURED), done)
        comparison = compare(place)
        scales.append(comparison.step_scale)
        for _ in range(2):  # given twice, it counts once
            cluster = learned(cluster, place, comparison, where="machine.yaml")
    assert cluster.calibration is not None
    assert cluster.calibration.step_scale == pytest.approx((scales[0] * scales[1]) ** 0.5)
    assert cluster.calibration.step_scale_runs == 2


def test_a_cluster_that_was_not_measured_learns_nothing(tmp_path: Path) -> None:
    leave_run(tmp_path, planned_on(MEASURED), steps())
    with pytest.raises(InputError, match="never measured"):
        learned(parse_cluster("cpu:2"), tmp_path, compare(tmp_path), where="machine.yaml")


@pytest.mark.parametrize(
    "other",
    [
        MEASURED.model_copy(update={"calibration": Calibration(date="2026-11-24")}),
        MEASURED.model_copy(update={"link_model": "flows"}),
    ],
)
def test_a_run_of_another_cluster_is_refused(other: ClusterSpec, tmp_path: Path) -> None:
    leave_run(tmp_path, planned_on(MEASURED), steps())
    with pytest.raises(InputError, match="was planned on another cluster"):
        learned(other, tmp_path, compare(tmp_path), where="machine.yaml")


def test_the_verb_updates_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = tmp_path / "machine.yaml"
    write_cluster_file(machine, MEASURED)
    before = planned_on(MEASURED)
    leave_run(tmp_path, before, steps(step_s=2 * before.prediction.step.step_s))
    with pytest.raises(SystemExit) as left:
        main(["compare", str(tmp_path), "--update", str(machine)])
    assert not left.value.code
    assert f"updated: {machine}: steps take" in capsys.readouterr().err
    calibration = read_cluster_file(machine).calibration
    assert calibration is not None
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert calibration.step_scale == pytest.approx(written["step_scale"])
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path), "--update", str(machine)])
    assert "has learned from this run before" in capsys.readouterr().err
    assert read_cluster_file(machine).calibration == calibration
