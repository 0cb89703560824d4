"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.base import Basis
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance, RankedPlan, inputs_sha256
from simulator.spec.prediction import (
    CampaignPrediction,
    Interval,
    MemoryBreakdown,
    Prediction,
    StepBreakdown,
    StepPrediction,
)

# How long an example takes depends on who else uses the machine.
settings.register_profile("armillary", deadline=None)
settings.load_profile("armillary")


@pytest.fixture
def example_plan_file() -> PlanFile:
    """A plan file that nobody searched: its numbers are made up, its parts belong together."""
    scenario = scenario_from_flags(
        model="mixtral-8x7b", cluster="h100-sxm:64", tokens="1T", overrides=["seed=3"]
    )
    plan = PlanSpec(tp=8, dp_replicate=8, n_microbatches=128, sequence_parallel=True)
    step = StepPrediction(
        step_s=1.0,
        interval_step_s=Interval(low=0.9, high=1.1),
        mfu=0.4,
        model_flops_per_device_per_s=4e14,
        tokens_per_s=1e6,
        breakdown=StepBreakdown(forward_s=0.3, backward_s=0.7),
        memory=(MemoryBreakdown(weights_bytes=1e10),),
        memory_capacity_bytes=8e10,
        basis=Basis.DATASHEET,
        assumptions=("none",),
    )
    campaign = CampaignPrediction(
        n_steps=100,
        goodput=0.95,
        goodput_interval=Interval(low=0.9, high=0.97),
        losses={"checkpoint": 0.01},
        calendar_s=105.0,
        device_hours=2.0,
        expected_failures=0.1,
        checkpoint_interval_s=600.0,
        checkpoint_stall_s=1.0,
    )
    prediction = Prediction(step=step, campaign=campaign)
    return PlanFile(
        scenario=scenario,
        plan=plan,
        prediction=prediction,
        alternatives=(RankedPlan(rank=1, plan=plan, prediction=prediction),),
        provenance=Provenance(
            armillary_version="0.1.0", seed=3, inputs_sha256=inputs_sha256(scenario)
        ),
    )
