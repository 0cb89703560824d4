"""Small campaigns with round numbers, for tests of the engines."""

from __future__ import annotations

from typing import Any

from simulator.campaign.setting import CampaignSetting, campaign_setting
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.base import Basis
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Interval, MemoryBreakdown, StepBreakdown, StepPrediction
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario

DAY_S = 86400.0
STATE_BYTES = 5.67e12


def step_of(step_s: float) -> StepPrediction:
    """A step whose fullest rank holds 10 GiB of state."""
    return StepPrediction(
        step_s=step_s,
        interval_step_s=Interval(low=step_s, high=step_s),
        mfu=0.4,
        model_flops_per_device_per_s=4e14,
        tokens_per_s=2048 * 8192 / step_s,
        breakdown=StepBreakdown(forward_s=step_s),
        memory=(MemoryBreakdown(weights_bytes=6 * 2.0**30, optimizer_bytes=4 * 2.0**30),),
        memory_capacity_bytes=80 * 2.0**30,
        basis=Basis.DATASHEET,
    )


def scenario_of(
    *, n_devices: int = 16_384, days: float = 54, step_s: float = 4.5, **reliability: Any
) -> Scenario:
    """Llama 3 405B for some days of steps that take `step_s`."""
    n_steps = round(days * DAY_S / step_s)
    return Scenario(
        name="campaign",
        model=find_model("llama3.1-405b"),
        cluster=parse_cluster(f"h100-sxm:{n_devices}"),
        job=JobSpec(
            tokens=n_steps * 2048 * 8192, sequence_length=8192, global_batch_sequences=2048
        ),
        reliability=ReliabilitySpec.model_validate(reliability),
        seed=1,
    )


def plan_of(n_devices: int = 16_384, *, n_groups: int = 1) -> PlanSpec:
    """Copies of 128 devices, in groups that share what they hold."""
    copies = n_devices // 128
    return PlanSpec(
        pp=16,
        tp=8,
        dp_replicate=n_groups,
        dp_shard=copies // n_groups,
        zero_stage=1,
        sequence_parallel=True,
        recompute="full",
        n_microbatches=max(1, 2048 // copies),
    )


def setting_of(
    *, n_devices: int = 16_384, days: float = 54, step_s: float = 4.5, **reliability: Any
) -> CampaignSetting:
    """The campaign of `scenario_of`, ready to simulate."""
    scenario = scenario_of(n_devices=n_devices, days=days, step_s=step_s, **reliability)
    plan = plan_of(n_devices, n_groups=reliability.get("isolation_groups", 1))
    return campaign_setting(scenario, plan, step_of(step_s), state_bytes=STATE_BYTES)
