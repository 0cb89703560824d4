"""What is predicted of a run itself."""

from __future__ import annotations

import pytest

from runtime.outlook import outlook
from simulator.spec.cluster import Calibration
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import Outage
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file

START_S = 10.0


def calibrated(file: PlanFile) -> PlanFile:
    """The same on a machine whose ranks take ten seconds to start."""
    calibration = Calibration(date="2026-11-25", start_s=START_S)
    cluster = file.scenario.cluster.model_copy(update={"calibration": calibration})
    scenario = file.scenario.model_copy(update={"cluster": cluster})
    return file.model_copy(update={"scenario": scenario})


FILE = plan_file(fp32(dp_replicate=2), run=RunSpec(steps=30, checkpoint_every_steps=5))


def test_a_calm_run_loses_its_start() -> None:
    assert outlook(calibrated(FILE), ()).goodput == pytest.approx(30 / 40, rel=0.01)


def test_an_outage_costs_a_start_and_the_steps_since_the_checkpoint() -> None:
    # Struck at 28 s, after 18 steps of 1 s of which 15 were saved.
    outage = Outage(node=0, start_s=28.0, end_s=28.0)
    campaign = outlook(calibrated(FILE), (outage,))
    assert campaign.goodput == pytest.approx(30 / (40 + 3 + 10), rel=0.01)
    assert campaign.losses["lost_work"] == pytest.approx(3 / 53, rel=0.01)
    assert campaign.losses["restart"] == pytest.approx(10 / 53, rel=0.01)


def test_a_run_that_waits_for_data_saves_after_as_many_steps() -> None:
    """Intervals are work, and a wait for data is none."""
    step = FILE.prediction.step
    breakdown = step.breakdown.model_copy(update={"input_s": 0.6})
    waiting = step.model_copy(update={"step_s": step.step_s + 0.6, "breakdown": breakdown})
    prediction = FILE.prediction.model_copy(update={"step": waiting})
    starved = FILE.model_copy(update={"prediction": prediction})
    outage = Outage(node=0, start_s=28.0, end_s=28.0)
    struck = outlook(calibrated(starved), (outage,))
    assert struck.goodput == outlook(calibrated(FILE), (outage,)).goodput


def test_without_a_measured_start_the_whole_training_counts() -> None:
    assert outlook(FILE, ()) == FILE.prediction.campaign


def test_what_only_slows_is_no_outage_of_the_campaign() -> None:
    slow = Outage(node=0, start_s=28.0, end_s=30.0, cause="slow")
    assert outlook(calibrated(FILE), (slow,)) == outlook(calibrated(FILE), ())
