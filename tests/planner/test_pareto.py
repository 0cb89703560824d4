"""The front is that of pricing everything."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from planner import pareto as module
from planner.front import beaten, unbeaten
from planner.pareto import SLOWEST, TOLERANCE, pareto
from planner.pricing import Pricing
from planner.space import Space
from simulator.cost.plan_table import FloatArray
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.scenario import GoalSpec, PlanLimits, Scenario
from tests.planner.test_balance import heavy_head

Make = Callable[..., Scenario]
ROWS = arrays(np.float64, st.tuples(st.integers(0, 30), st.just(3)), elements=st.integers(1, 5))


@given(ROWS)
def test_unbeaten_rows_are_those_that_no_other_beats(rows: FloatArray) -> None:
    kept = unbeaten(rows)
    for at, row in enumerate(rows):
        better = [other for other in rows if (other <= row).all() and (other < row).any()]
        assert bool(better) == (not (rows[kept] == row).all(axis=1).any())
        assert at not in kept or not better
    assert beaten(rows, rows[kept]).all()


def test_a_tolerance_leaves_out_what_is_hardly_better() -> None:
    rows = np.array([[100.0, 10.0], [101.0, 9.95], [105.0, 9.0]])
    assert unbeaten(rows).tolist() == [0, 1, 2]
    assert unbeaten(rows, tolerance=0.01).tolist() == [0, 2]


def test_the_front_is_that_of_all_plans(
    make_scenario: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds leave out nothing that all plans, priced one by one, would put on the front."""
    monkeypatch.setattr(module, "BATCH_ROWS", 300)
    scenario = make_scenario(n_devices=8, limits=PlanLimits(devices=8))
    part = module._part(scenario)
    pricing = Pricing.of(scenario)
    points = []
    for table in Space.of(scenario).tables():
        fitting = table.take(pricing.peak_bytes(table) <= pricing.allowed_bytes)
        points.append(module._criteria(pricing.outlook(fitting, pricing.steps(fitting))))
    every = np.concatenate(points)
    every = every[every[:, 0] <= SLOWEST * every[:, 0].min()]
    assert part.found is not None
    front = module._criteria(part.found)
    assert part.n_priced < part.n_plans
    assert beaten(every, front, tolerance=2 * TOLERANCE).all()
    assert not beaten(front, every, tolerance=-1e-9).any()


def test_a_front_over_halves_of_the_devices(make_scenario: Make) -> None:
    front = pareto(make_scenario(n_devices=16))
    assert front.counts == (16, 8)  # whole nodes of 8
    days = [one.prediction.calendar_s for one in front.plans]
    assert days == sorted(days)
    assert len(front.to_frame()) == len(front.plans) > 2
    assert {one.plan.n_ranks == one.n_devices for one in front.plans} == {True}


def test_a_front_keeps_the_goal(make_scenario: Make) -> None:
    free = pareto(make_scenario(n_devices=8))
    within_s = free.plans[len(free.plans) // 2].prediction.calendar_s
    goal = {"goal": GoalSpec(finish_within=within_s)}
    bounded = pareto(make_scenario(n_devices=8).model_copy(update=goal))
    assert 0 < len(bounded.plans) < len(free.plans)
    assert max(one.prediction.calendar_s for one in bounded.plans) <= within_s


def test_uneven_plans_are_on_the_front_where_limits_ask_for_them() -> None:
    scenario = heavy_head(balance=True)
    limits = scenario.limits.model_copy(update={"devices": 8})
    front = pareto(scenario.model_copy(update={"limits": limits}))
    assert front.plans[0].plan.layers_per_chunk


def test_nothing_fits(make_scenario: Make) -> None:
    with pytest.raises(NoFeasiblePlan, match="no plan fits"):
        pareto(make_scenario(n_devices=8, memory_bytes=2.0**26))
