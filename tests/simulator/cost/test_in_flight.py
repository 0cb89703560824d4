"""Microbatches in flight by formula, against what the schedules really hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.in_flight import in_flight
from simulator.cost.plan_table import PlanTable
from simulator.schedule import actions_of
from simulator.spec.plan import PlanSpec


@given(
    pp=st.integers(1, 8),
    schedule=st.sampled_from(["gpipe", "1f1b", "interleaved-1f1b"]),
    virtual_stages=st.integers(1, 4),
    rounds=st.integers(1, 4),
)
def test_formula_is_what_the_schedule_holds(
    pp: int, schedule: str, virtual_stages: int, rounds: int
) -> None:
    plan = PlanSpec.model_validate(
        {
            "pp": pp,
            "schedule": schedule,
            "virtual_stages": virtual_stages if schedule == "interleaved-1f1b" else 1,
            "n_microbatches": pp * rounds,
        }
    )
    held = in_flight(PlanTable.of([plan]), np.arange(pp)[None])
    peaks = actions_of(plan).peak_in_flight()
    assert held[0] == pytest.approx(np.array(peaks) / plan.virtual_stages)
