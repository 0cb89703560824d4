"""The campaign that most tests start from: Llama 3 405B on 16,384 H100."""

import pytest

from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.base import Basis
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Interval, MemoryBreakdown, StepBreakdown, StepPrediction
from simulator.spec.scenario import Scenario

GIB = 2.0**30


@pytest.fixture
def llama3() -> Scenario:
    return Scenario(
        name="llama3",
        model=find_model("llama3.1-405b"),
        cluster=parse_cluster("h100-sxm:16384"),
        job=JobSpec(
            tokens=15_600_000_000_000, sequence_length=8192, global_batch_tokens=16_000_000
        ),
    )


@pytest.fixture
def plan() -> PlanSpec:
    return PlanSpec(pp=16, dp_shard=128, tp=8, zero_stage=1, n_microbatches=16)


@pytest.fixture
def step() -> StepPrediction:
    """A step of 4.5 s whose fullest rank holds 10 GiB of state."""
    return StepPrediction(
        step_s=4.5,
        interval_step_s=Interval(low=4.2, high=4.8),
        mfu=0.4,
        model_flops_per_device_per_s=400e12,
        tokens_per_s=16e6 / 4.5,
        breakdown=StepBreakdown(forward_s=1.5, backward_s=3.0),
        memory=(MemoryBreakdown(weights_bytes=6 * GIB, optimizer_bytes=4 * GIB),),
        memory_capacity_bytes=80 * GIB,
        basis=Basis.DATASHEET,
    )
