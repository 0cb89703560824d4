"""The sweep finds what sorting all plans would find."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from planner.bounds import StepFloor, fill_shares
from planner.objective import Outlook, Steps, order, within_goal
from planner.space import Space
from planner.sweep import MESH, Prices, Sweep, sweep
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
        noise: FloatArray = np.modf(np.sin(mixed) * 43758.5453)[0] ** 2
        return noise

    def floor(self, table: PlanTable) -> StepFloor:
        work_s = 1.0 + 0.5 * self._core_noise(table)
        return StepFloor(work_s=work_s, fill_s=0.3 * work_s)

    def _core_noise(self, table: PlanTable) -> FloatArray:
        """Nothing that an arrangement could change."""
        core = table.tp * 0.13 + table.cp * 0.29 + table.pp * 0.41 + table.recompute * 0.57
        mixed = core + 0.71 * table.microbatch_sequences + 0.83 * table.sequence_parallel
        noise: FloatArray = np.modf(np.sin(mixed) * 43758.5453)[0] ** 2
        return noise

    def least_bytes(self, table: PlanTable) -> FloatArray:
        return np.full((len(table), 4), -np.inf)

    def peak_bytes(self, table: PlanTable) -> FloatArray:
        return self._noise(table, 1)

    def steps(self, table: PlanTable) -> Steps:
        floor = self.floor(table).with_fill(fill_shares(table))
        step_s = floor * (1.0 + 0.5 * self._noise(table, 2))
        return Steps(step_s=step_s, communication_share=np.zeros(len(table)))

    def promise(self, table: PlanTable, step_s: FloatArray) -> Outlook:
        zeros = np.zeros(len(table))
        return Outlook(
            table=table,
            peak_bytes=zeros,
            step_s=step_s,
            calendar_s=step_s,
            cost_usd=step_s,
            energy_j=None,
        )

    def outlook(self, table: PlanTable, steps: Steps) -> Outlook:
        step_s = steps.step_s
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
    outlook = prices.outlook(table, prices.steps(table))
    outlook = outlook.take(within_goal(scenario.goal, outlook))
    outlook = outlook.take(order(scenario.goal, outlook))
    leaders: dict[tuple[int, ...], PlanSpec] = {}
    for row in range(len(outlook)):
        plan = outlook.table.plan(row, Precision.BF16)
        leaders.setdefault(tuple(getattr(plan, name) for name in MESH), plan)
        if len(leaders) == n_leaders:
            break
    return list(leaders.values())


@pytest.mark.parametrize(
    "goal",
    [
        GoalSpec(),
        GoalSpec(minimize="cost", finish_within=2.5),
        GoalSpec(budget=2.6),
    ],
)
@pytest.mark.parametrize("max_rows", [100, 3000])
def test_same_leaders_as_sorting_everything(
    make_scenario: Make, goal: GoalSpec, max_rows: int
) -> None:
    scenario = make_scenario(n_devices=12).model_copy(update={"goal": goal})
    found = run(scenario, n_leaders=7, batch_rows=max_rows)
    assert found.leaders is not None
    assert plans(found.leaders.table) == exhaustive(scenario, 7)
    assert found.complete
    assert found.n_plans == sum(len(table) for table in Space.of(scenario).tables())
    assert found.n_fitting < found.n_priced < found.n_plans


def run(
    scenario: Scenario,
    *,
    prices: Prices | None = None,
    n_leaders: int = 3,
    max_priced: int = 10**9,
    batch_rows: int = 1000,
) -> Sweep:
    return sweep(
        prices or Invented(),
        scenario,
        Space.of(scenario),
        n_leaders=n_leaders,
        max_priced=max_priced,
        batch_rows=batch_rows,
    )


def plans(table: PlanTable) -> list[PlanSpec]:
    return [table.plan(row, Precision.BF16) for row in range(len(table))]


def test_most_plans_are_never_priced(make_scenario: Make) -> None:
    prices = Invented()
    found = run(make_scenario(n_devices=12), prices=prices, batch_rows=100)
    assert found.n_priced < 0.5 * found.n_plans
    assert prices.n_outlooks < 0.5 * found.n_fitting


def test_stopping_early_is_said(make_scenario: Make) -> None:
    found = run(make_scenario(n_devices=12), max_priced=300, batch_rows=100)
    assert not found.complete
    assert 300 <= found.n_priced < 500
    assert found.leaders is not None


def test_nothing_fits(make_scenario: Make) -> None:
    found = run(make_scenario(), prices=Invented(allowed_bytes=-1.0))
    assert found.leaders is None
    assert found.n_fitting == 0
    assert found.n_priced == found.n_plans > 0


def test_nothing_meets_the_goal(make_scenario: Make) -> None:
    found = run(make_scenario().model_copy(update={"goal": GoalSpec(finish_within=0.5)}))
    assert found.leaders is None
    assert found.n_priced < found.n_plans


def test_no_plan_at_all(make_scenario: Make) -> None:
    # 7 divides neither the heads, the batch nor the sequence, and there are only 6 layers.
    found = run(make_scenario(n_devices=7))
    assert (found.leaders, found.n_plans, found.complete) == (None, 0, True)
