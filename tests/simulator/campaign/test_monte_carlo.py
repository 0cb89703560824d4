from typing import Any

import numpy as np
import pytest

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.events import simulate_campaign
from simulator.campaign.monte_carlo import renewal_campaigns
from tests.simulator.campaign.settings import (
    DAY_S,
    STATE_BYTES,
    plan_of,
    scenario_of,
    setting_of,
    step_of,
)

TIERS = [
    {"name": "host", "survives": "job", "write_bandwidth_bytes_per_s": 2e10, "interval_s": 60.0},
    {
        "name": "store",
        "survives": "region",
        "shared": True,
        "write_bandwidth_bytes_per_s": 1e11,
        "interval_s": 600.0,
    },
]
CASES: dict[str, dict[str, Any]] = {
    "20 s stalls": {"checkpoint_stall_s": 20, "restart_s": 300},
    "spares": {"checkpoint_stall_s": 20, "restart_s": 300, "spares": 20},
    "few spares": {"spares": 14, "repair_spread": 1.0},
    "two tiers": {"checkpoint_tiers": TIERS, "restart": {"init_s": 200, "schedule_s": 60}},
    "131k devices": {"n_devices": 131_072, "days": 7, "checkpoint_stall_s": 5, "restart_s": 300},
}


@pytest.mark.parametrize("name", CASES)
def test_two_engines_one_model(name: str) -> None:
    setting = setting_of(**CASES[name])
    fast = renewal_campaigns(setting, 1000)
    events = np.array([simulate_campaign(setting, replica=n).goodput for n in range(40)])
    error = np.hypot(events.std() / np.sqrt(len(events)), fast.goodput.std() / np.sqrt(1000))
    assert abs(events.mean() - fast.goodput.mean()) < 3 * error
    assert events.std() == pytest.approx(fast.goodput.std(), rel=0.5)


@pytest.mark.parametrize("name", ["20 s stalls", "spares", "131k devices"])
def test_the_closed_form_agrees(name: str) -> None:
    setting = setting_of(**CASES[name])
    fast = renewal_campaigns(setting, 2000)
    values = dict(CASES[name])
    plan = plan_of(values.get("n_devices", 16_384))
    exact = predict_campaign(scenario_of(**values), plan, step_of(4.5), state_bytes=STATE_BYTES)
    assert fast.goodput.mean() == pytest.approx(exact.goodput, abs=1.5e-3)
    assert fast.n_failures.mean() == pytest.approx(exact.expected_failures, rel=0.01)
    if name != "spares":  # the closed form leaves the spread of waiting out
        reach = (exact.goodput_interval.high - exact.goodput_interval.low) / 2 / 1.645
        assert fast.goodput.std() == pytest.approx(reach, rel=0.1)


def test_fixed_interval_of_the_literature() -> None:
    # 54 days at the failure rate of Llama 3, a save every 30 min and restarts of 420 s: 0.8767.
    setting = setting_of(
        days=54 * 0.8767,
        checkpoint_stall_s=20,
        restart_s=420,
        checkpoint_tiers=[TIERS[1] | {"interval_s": 1800.0, "write_bandwidth_bytes_per_s": 1e15}],
    )
    assert renewal_campaigns(setting, 4000).goodput.mean() == pytest.approx(0.8767, abs=5e-4)


def test_what_only_events_can_do_is_refused() -> None:
    crews = setting_of(spares=10, repair_crews=3)
    with pytest.raises(ValueError, match="a limited number of repair crews: only the event"):
        renewal_campaigns(crews, 10)
    shrinking = setting_of(spares=10, recovery="shrink")
    with pytest.raises(ValueError, match="recovery shrink"):
        renewal_campaigns(shrinking, 10)
    # Two nodes that fail at once wait for the slower pool, which takes a minute longer.
    pools = [{"kind": "warm", "nodes": 1}, {"kind": "cold", "nodes": 9, "swap_s": 60}]
    with pytest.raises(ValueError, match="spares of several kinds"):
        renewal_campaigns(setting_of(spare_pools=pools), 10)
    renewal_campaigns(setting_of(spare_pools=pools[:1]), 10)


def test_nothing_fails() -> None:
    runs = renewal_campaigns(
        setting_of(failures_per_device_day=0, restart_s=0, checkpoint_stall_s=0), 5
    )
    assert runs.calendar_s == pytest.approx(np.full(5, 54 * DAY_S))
    assert runs.goodput == pytest.approx(np.ones(5))
