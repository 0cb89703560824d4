"""What comes first: the goal, then memory left free, then simplicity."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.objective import NEAR_TIE, Outlook, grade, objective, order, within_goal
from planner.space import Space
from simulator.cost.plan_table import PlanTable
from simulator.spec.base import Precision
from simulator.spec.scenario import GoalSpec, Scenario


@pytest.fixture
def table(make_scenario: Callable[..., Scenario]) -> PlanTable:
    return next(Space.of(make_scenario()).tables()).take(np.arange(4))


def outlook(table: PlanTable, calendar_s: list[float], **columns: list[float]) -> Outlook:
    values = {name: np.array(column) for name, column in columns.items()}
    return Outlook(
        table=table,
        step_s=np.array(calendar_s),
        calendar_s=np.array(calendar_s),
        peak_bytes=values.get("peak_bytes", np.zeros(len(calendar_s))),
        cost_usd=values.get("cost_usd"),
        energy_j=values.get("energy_j"),
    )


def test_least_time_first(table: PlanTable) -> None:
    rows = order(GoalSpec(), outlook(table, [4.0, 1.0, 3.0, 2.0]))
    assert rows.tolist() == [1, 3, 2, 0]


def test_least_energy_first(table: PlanTable) -> None:
    seen = outlook(table, [1.0, 2.0, 3.0, 4.0], energy_j=[9.0, 7.0, 8.0, 6.0])
    assert order(GoalSpec(minimize="energy"), seen).tolist() == [3, 1, 2, 0]
    assert order(GoalSpec(minimize="carbon"), seen).tolist() == [3, 1, 2, 0]


def test_near_ties_go_by_memory(table: PlanTable) -> None:
    seen = outlook(table, [1.0000, 1.0001, 1.0, 1.2], peak_bytes=[3.0, 1.0, 2.0, 0.5])
    assert order(GoalSpec(), seen).tolist() == [1, 2, 0, 3]


def test_equal_plans_keep_their_place(table: PlanTable) -> None:
    same = table.take(np.zeros(4, dtype=np.intp))
    assert order(GoalSpec(), outlook(same, [1.0] * 4)).tolist() == [0, 1, 2, 3]


@given(st.floats(1e-3, 1e12), st.floats(1.0, 10.0))
def test_a_grade_is_never_better_for_more(value: float, factor: float) -> None:
    assert grade(value * factor) >= grade(value)
    assert grade(value * (1 + 2 * NEAR_TIE)) > grade(value)


def test_deadline_and_budget_both_hold(table: PlanTable) -> None:
    seen = outlook(table, [1.0, 2.0, 3.0, 4.0], cost_usd=[9.0, 5.0, 4.0, 3.0])
    goal = GoalSpec(finish_within=3.0, budget=5.0)
    assert within_goal(goal, seen).tolist() == [False, True, True, False]


def test_rows_and_joins_keep_columns_together(table: PlanTable) -> None:
    seen = outlook(table, [1.0, 2.0, 3.0, 4.0], cost_usd=[1.0, 2.0, 3.0, 4.0])
    joined = seen.take(np.array([3, 0])).joined(seen.take(np.array([1])))
    assert objective(GoalSpec(minimize="cost"), joined).tolist() == [4.0, 1.0, 2.0]
    assert joined.energy_j is None
    assert joined.table.plan(1, Precision.BF16) == table.plan(0, Precision.BF16)
    assert len(joined) == 3
