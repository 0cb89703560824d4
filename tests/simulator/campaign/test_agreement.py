"""Closed form and events say the same about what both know."""

from typing import Any

import numpy as np
import pytest

from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.replicas import run_replicas, summarize
from tests.simulator.campaign.settings import (
    DAY_S,
    STATE_BYTES,
    plan_of,
    scenario_of,
    setting_of,
    step_of,
)

ANY = {"name": "any", "failures_per_device_day": 0.4736e-3, "detection_s": 0}
SPOT = {
    "name": "spot",
    "component": "preemption",
    "failures_per_device_day": 0.01,
    "notice_s": 120.0,
    "followers": 0.5,
}
SLOW = {
    "name": "slow",
    "effect": "slow",
    "slowdown": 1.01,
    "lasts_s": 1e6,
    "failures_per_job_day": 2.0,
    "detection_s": 1200.0,
}
OUTAGES = [
    {"node": number * 7 % 2048, "start_s": number * DAY_S / 20, "end_s": (number + 10) * DAY_S / 20}
    for number in range(800)
]
APART: dict[str, Any] = {"recovery": "isolate", "isolation_groups": 16, "spares": 60}
CASES: dict[str, dict[str, Any]] = {
    "lemons": {"cohorts": [{"name": "lemon", "share": 0.02, "rate_factor": 10}], "spares": 40},
    "bursts": {"causes": [ANY | {"followers": 2.0}], "spares": 60},
    "repairs that do not help": {"repair_success": 0.5, "repair_spread": 1.0, "spares": 30},
    "repair times of causes": {"causes": [ANY | {"repair_s": 5 * DAY_S}], "spares": 45},
    "racks": {"causes": [ANY | {"scope": "rack"}], "nodes_per_rack": 2, "spares": 60},
    "evictions": {"more_causes": [SLOW], "spares": 60},
    "slow devices": {"more_causes": [SLOW | {"slowdown": 1.5, "lasts_s": 3600.0}], "spares": 60},
    "groups, failures per job": APART
    | {
        "causes": [
            {"name": "node", "failures_per_job_day": 10.0, "detection_s": 300.0},
            {"name": "rack", "scope": "rack", "failures_per_job_day": 10.0, "detection_s": 0.0},
        ],
        "repair_s": DAY_S,
    },
    "groups, recorded outages": APART | {"replay": OUTAGES, "random_failures": False},
    "preemption": {
        "n_devices": 1024,
        "step_s": 20.0,
        "causes": [SPOT],
        "repair_s": DAY_S / 2,
        "spares": 0,
        "recovery": "shrink",
    },
}


@pytest.mark.parametrize("name", CASES)
def test_closed_form_and_events(name: str) -> None:
    values = {"days": 40, "restart_s": 300.0, "checkpoint_stall_s": 10.0} | CASES[name]
    setting = setting_of(**values)
    runs = run_replicas(setting, n_replicas=16, jobs=1)
    events = summarize(setting, runs)
    n_devices, n_groups = values.get("n_devices", 16_384), values.get("isolation_groups", 1)
    plan, step = plan_of(n_devices, n_groups=n_groups), step_of(values.get("step_s", 4.5))
    exact = predict_campaign(scenario_of(**values), plan, step, state_bytes=STATE_BYTES)
    error = 3 * np.std([run.goodput for run in runs]) / np.sqrt(len(runs))
    assert events.goodput == pytest.approx(exact.goodput, abs=error + 4e-3)
    assert events.expected_failures == pytest.approx(exact.expected_failures, rel=0.08)
    assert events.device_hours == pytest.approx(exact.device_hours, rel=0.01)
