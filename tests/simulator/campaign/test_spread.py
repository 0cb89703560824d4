"""Intervals of single campaigns where the normal ones of the closed form do not hold."""

from typing import Any

import numpy as np
import pytest

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.events import simulate_campaign
from simulator.campaign.setting import campaign_setting
from simulator.campaign.spread import spread_is_unknown, with_spread
from tests.simulator.campaign.settings import (
    DAY_S,
    STATE_BYTES,
    plan_of,
    scenario_of,
    step_of,
)

SMALL: dict[str, Any] = {"n_devices": 1024, "days": 20, "step_s": 20.0, "restart_s": 3600.0}
CASES: dict[str, dict[str, Any]] = {
    "few failures": SMALL,
    "waiting for nodes": {**SMALL, "days": 60, "spares": 1, "repair_s": 5 * DAY_S},
}


@pytest.mark.parametrize("name", CASES)
def test_simulated_intervals_are_those_of_the_events(name: str) -> None:
    scenario, step = scenario_of(**CASES[name]), step_of(20.0)
    plan = plan_of(1024)
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    assert spread_is_unknown(campaign)
    setting = campaign_setting(scenario, plan, step, state_bytes=STATE_BYTES)
    simulated = with_spread(setting, campaign)
    assert simulated.calendar_s == campaign.calendar_s
    times_s = [simulate_campaign(setting, replica=n).calendar_s for n in range(200)]
    theirs = np.quantile(times_s, (0.05, 0.95)) / np.mean(times_s) - 1
    ours = np.array(simulated.intervals["calendar_s"].ends) / campaign.calendar_s - 1
    usual = np.array(campaign.intervals["calendar_s"].ends) / campaign.calendar_s - 1
    assert ours == pytest.approx(theirs, rel=0.25, abs=2e-3)
    assert np.abs(usual - theirs).max() > np.abs(ours - theirs).max()


def test_what_the_closed_form_knows_is_left_alone() -> None:
    plan, step = plan_of(16_384), step_of(4.5)
    many = scenario_of(spares=32)
    assert not spread_is_unknown(predict_campaign(many, plan, step, state_bytes=STATE_BYTES))
    never = scenario_of(**{**SMALL, "failures_per_device_day": 0.0})
    none = predict_campaign(never, plan_of(1024), step_of(20.0), state_bytes=STATE_BYTES)
    assert not spread_is_unknown(none)


def test_what_only_events_can_simulate_keeps_its_interval() -> None:
    scenario = scenario_of(**SMALL, recovery="shrink", spares=0)
    plan, step = plan_of(1024), step_of(20.0)
    campaign = predict_campaign(scenario, plan, step, state_bytes=STATE_BYTES)
    setting = campaign_setting(scenario, plan, step, state_bytes=STATE_BYTES)
    assert with_spread(setting, campaign) == campaign
