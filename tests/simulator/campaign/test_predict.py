"""One prediction joins the step and the campaign of a plan."""

import pytest

from simulator.campaign.predict import predict
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.plan import PlanSpec

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
