"""Microbatches in flight by formula, against what the schedules really hold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from simulator.cost.in_flight import in_flight
from simulator.cost.plan_table import PlanTable
from simulator.schedule import actions_of
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import ScheduleName
from tests.simulator.pipelines import pipelines


@given(pipelines(max_pp=8, max_virtual=4, max_rounds=5))
def test_formula_is_what_the_schedule_holds(pipeline: dict[str, Any]) -> None:
    plan = PlanSpec(**pipeline)
    held = in_flight(PlanTable.of([plan]), np.arange(plan.pp)[None])
    peaks = actions_of(plan).peak_in_flight()
    assert held[0] == pytest.approx(np.array(peaks) / plan.virtual_stages)


def test_many_plans_at_once_hold_what_each_holds() -> None:
    chunks: dict[ScheduleName, int] = {"zb-v": 2, "1f1b": 1, "zero-bubble": 3, "zb-h2": 1}
    plans = [
        PlanSpec(pp=4, schedule=schedule, virtual_stages=virtual, n_microbatches=n)
        for schedule, virtual in chunks.items()
        for n in (8, 40)
    ]
    rank = np.tile(np.array([0, 3]), (len(plans), 1))
    each = [in_flight(PlanTable.of([plan]), rank[:1])[0] for plan in plans]
    assert in_flight(PlanTable.of(plans), rank) == pytest.approx(np.array(each))
