"""One prediction joins the step and the campaign of a plan."""

import math

import pytest

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.predict import predict, state_bytes
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import TOTALS

PLAN = PlanSpec(
    tp=8,
    sequence_parallel=True,
    pp=16,
    virtual_stages=7,
    schedule="interleaved-1f1b",
    cp=2,
    dp_shard=64,
    zero_stage=1,
    n_microbatches=32,
)


def test_llama3_campaign_takes_weeks_and_keeps_nine_tenths() -> None:
    scenario = load_scenario("scenarios/llama3-405b-on-16k-h100.yaml")
    prediction = predict(scenario, PLAN)
    step, campaign = prediction.step, prediction.campaign
    work_s = campaign.n_steps * step.step_s
    spare_share = 32 / (2048 + 32)
    assert campaign.n_steps == 929_833  # 15.6e12 tokens in steps of 2,048 x 8,192
    assert work_s / campaign.calendar_s == pytest.approx(campaign.goodput / (1 - spare_share))
    assert campaign.device_hours == pytest.approx(campaign.calendar_s / 3600 * (2048 + 32) * 8)
    assert sum(campaign.losses.values()) + campaign.goodput == pytest.approx(1.0)
    assert 0.85 < campaign.goodput < 0.97


def test_a_campaign_grows_with_its_step() -> None:
    """At both ends of the step's interval, the totals are as far off as the step is."""
    scenario = load_scenario("scenarios/llama3-405b-on-16k-h100.yaml")
    prediction = predict(scenario, PLAN)
    step, joint = prediction.step, prediction.intervals
    for end_s, at in zip(step.interval_step_s.ends, (0, 1), strict=True):
        other = step.model_copy(update={"step_s": end_s})
        campaign = predict_campaign(scenario, PLAN, other, state_bytes=state_bytes(scenario, PLAN))
        for name in TOTALS:
            grown = getattr(campaign, name) / getattr(prediction.campaign, name)
            assert grown == pytest.approx(end_s / step.step_s, rel=0.005), name
            reached = joint[name].ends[at] / getattr(prediction.campaign, name)
            assert abs(math.log(reached)) >= abs(math.log(grown)) * (1 - 0.005), name
