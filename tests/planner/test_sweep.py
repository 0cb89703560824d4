"""The sweep finds what sorting all plans would find."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from planner.objective import Outlook, order, within_goal
from planner.space import Space
from planner.sweep import MESH, sweep
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.base import Precision
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import GoalSpec, Scenario

Make = Callable[..., Scenario]


@dataclass
class Invented:
    """Prices that have nothing to do with training, but depend on every decision."""

    allowed_bytes: float = 0.6
    n_outlooks: int = 0

    def _noise(self, table: PlanTable, seed: int) -> FloatArray:
        columns = [getattr(table, name) for name in PlanTable.__dataclass_fields__]
        mixed = sum((at + seed) * 0.7548776662466927 * column for at, column in enumerate(columns))
        return np.modf(np.sin(mixed) * 43758.5453)[0] ** 2

    def peak_bytes(self, table: PlanTable) -> FloatArray:
        return self._noise(table, 1)

    def step_s(self, table: PlanTable) -> FloatArray:
        return 1.0 + self._noise(table, 2)

    def least(self, table: PlanTable, step_s: FloatArray) -> FloatArray:
        return step_s

    def outlook(self, table: PlanTable, step_s: FloatArray) -> Outlook:
        self.n_outlooks += len(table)
        calendar_s = step_s * (1.0 + 0.2 * self._noise(table, 3))
        return Outlook(
            table=table,
            peak_bytes=self.peak_bytes(table),
            step_s=step_s,
            calendar_s=calendar_s,
            cost_usd=calendar_s * (1.0 + self._noise(table, 4)),
            energy_j=None,
        )


def exhaustive(scenario: Scenario, n_leaders: int) -> list[PlanSpec]:
    """Price everything at once, sort it, and go down the list."""
    (table,) = Space.of(scenario).tables(max_rows=1 << 30)
    prices = Invented()
    table = table.take(prices.peak_bytes(table) <= prices.allowed_bytes)
    outlook = prices.outlook(table, prices.step_s(table))
    outlook = outlook.take(within_goal(scenario.goal, outlook))
    outlook = outlook.take(order(scenario.goal, outlook))
    leaders: dict[tuple[int, ...], PlanSpec] = {}
    for row in range(len(outlook)):
        plan = outlook.table.plan(row, Precision.BF16)
        kind = (*(getattr(plan, name) for name in MESH), scenario.model.n_layers % plan.n_chunks)
        leaders.setdefault((*kind[:-1], kind[-1] == 0), plan)
        if len(leaders) == n_leaders:
            break
    return list(leaders.values())


@pytest.mark.parametrize(
    "goal",
    [
        GoalSpec(),
        GoalSpec(minimize="cost", finish_within=1.5),
        GoalSpec(budget=1.6),
    ],
)
@pytest.mark.parametrize("max_rows", [100, 3000])
def test_same_leaders_as_sorting_everything(
    make_scenario: Make, goal: GoalSpec, max_rows: int
) -> None:
    scenario = make_scenario(n_devices=12).model_copy(update={"goal": goal})
    tables = Space.of(scenario).tables(max_rows)
    found = sweep(Invented(), scenario, tables, n_leaders=7, max_plans=10**9)
    assert found.leaders is not None
    assert plans(found.leaders.table) == exhaustive(scenario, 7)
    assert found.complete
    assert found.n_plans == sum(len(table) for table in Space.of(scenario).tables())
    assert 0.5 < found.n_fitting / found.n_plans < 0.95


def plans(table: PlanTable) -> list[PlanSpec]:
    return [table.plan(row, Precision.BF16) for row in range(len(table))]


def test_most_campaigns_are_never_priced(make_scenario: Make) -> None:
    scenario = make_scenario(n_devices=12)
    prices = Invented()
    found = sweep(prices, scenario, Space.of(scenario).tables(1000), n_leaders=3, max_plans=10**9)
    assert prices.n_outlooks < 0.5 * found.n_fitting


def test_stopping_early_is_said(make_scenario: Make) -> None:
    scenario = make_scenario(n_devices=12)
    found = sweep(
        Invented(), scenario, Space.of(scenario).tables(1000), n_leaders=3, max_plans=2500
    )
    assert not found.complete
    assert 2500 <= found.n_plans < 3600
    assert found.leaders is not None


def test_nothing_fits(make_scenario: Make) -> None:
    scenario = make_scenario()
    prices = Invented(allowed_bytes=-1.0)
    found = sweep(prices, scenario, Space.of(scenario).tables(), n_leaders=3, max_plans=10**9)
    assert found.leaders is None
    assert found.n_fitting == 0
    assert found.n_plans > 0


def test_nothing_meets_the_goal(make_scenario: Make) -> None:
    scenario = make_scenario().model_copy(update={"goal": GoalSpec(finish_within=0.5)})
    found = sweep(Invented(), scenario, Space.of(scenario).tables(), n_leaders=3, max_plans=10**9)
    assert found.leaders is None
    assert found.n_fitting > 0


def test_no_plan_at_all(make_scenario: Make) -> None:
    def none() -> Iterator[PlanTable]:
        yield from ()

    found = sweep(Invented(), make_scenario(), none(), n_leaders=3, max_plans=10**9)
    assert (found.leaders, found.n_plans, found.complete) == (None, 0, True)
