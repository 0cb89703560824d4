"""One pass over all plans of a space: price them, keep the best ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from planner.bounds import StepFloor, fill_shares, least_fill_shares
from planner.cores import ZERO_STAGES, Cores, Options
from planner.objective import NEAR_TIE, Outlook, Steps, objective, order, within_goal
from planner.space import Space
from simulator.cost.plan_table import SCHEDULES, BoolArray, FloatArray, IntArray, PlanTable
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.spec.schedules import SCHEDULE_TRAITS

MESH = ("pp", "cp", "tp", "ep")
"""With the number of ranks fixed these say which ranks work together. Plans that differ only in
schedule, microbatch, sharding or recompute are variants of one mesh; the best stands for them."""

BATCH_ROWS = 1 << 16
MAX_PRICED = 100_000_000
"""Priced plans after which a search stops and says that it is not complete."""


class Prices(Protocol):
    """What the sweep asks of the cost model."""

    @property
    def allowed_bytes(self) -> float:
        """Memory that a plan may use on its fullest rank."""

    def floor(self, table: PlanTable) -> StepFloor:
        """Return lower bounds of the step time, whatever the schedule and the sharding."""

    def least_bytes(self, table: PlanTable) -> FloatArray:
        """Return what any plan with such a core holds at least, for each ZeRO stage: (n, 4)."""

    def peak_bytes(self, table: PlanTable) -> FloatArray:
        """Return the memory of the fullest rank."""

    def steps(self, table: PlanTable) -> Steps:
        """Return the steps of the plans."""

    def promise(self, table: PlanTable, step_s: FloatArray) -> Outlook:
        """Return what plans with such steps lead to at best."""

    def outlook(self, table: PlanTable, steps: Steps) -> Outlook:
        """Return what the plans lead to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one pass over the plans found."""

    leaders: Outlook | None
    """The best plan of each of the best meshes, best first; None when no plan is feasible."""
    fastest: Outlook | None
    """What would be the leaders if nothing failed and time were all that counts."""
    n_plans: int
    """Legal plans: each was priced, or is proven not to fit or to be behind the leaders."""
    n_priced: int
    n_fitting: int
    """Of the priced ones, those that memory allows."""
    complete: bool
    """Whether all legal plans were priced or proven to be no answer."""


def sweep(
    prices: Prices,
    scenario: Scenario,
    space: Space,
    *,
    n_leaders: int,
    max_priced: int = MAX_PRICED,
    batch_rows: int = BATCH_ROWS,
) -> Sweep:
    """Go through the plans of a space and keep the best one of each of the best meshes.

    Branch and bound: the cores with the least possible step time come first, and what cannot fit or
    has a bound behind the last leader is not looked at. No more than `n_leaders` plans are kept.
    """
    goal = scenario.goal
    leaders: Outlook | None = None
    fastest: Outlook | None = None
    n_priced = n_fitting = 0
    complete = True
    all_cores = space.cores()
    cores, floor, _ = bounded(prices, all_cores)
    least = least_fill_shares(cores.table, scenario.model, space.schedules)
    promise = prices.promise(cores.table, floor.with_fill(least))
    for batch in cores.batches(_queue(goal, promise), batch_rows):
        limit = _last_place(goal, leaders, n_leaders)
        if objective(goal, promise)[batch[0]] > limit:
            break
        if n_priced >= max_priced:
            complete = False
            break
        table, core = cores.plans(batch)
        floor_s = floor.take(core).with_fill(fill_shares(table))
        table = table.take(_able(goal, prices.promise(table, floor_s), limit))
        n_priced += len(table)
        if len(table) == 0:
            continue
        peak_bytes = prices.peak_bytes(table)
        fits = peak_bytes <= prices.allowed_bytes
        table, peak_bytes = table.take(fits), peak_bytes[fits]
        n_fitting += len(table)
        if len(table) == 0:
            continue
        steps = prices.steps(table)
        unfailing = prices.promise(table, steps.step_s)
        failure_free = replace(unfailing, peak_bytes=peak_bytes)
        fastest = _faster(fastest, failure_free, n_leaders)
        leaders = _better(prices, scenario, leaders, failure_free, steps, n_leaders)
    return Sweep(
        leaders=leaders,
        fastest=fastest,
        n_plans=int(all_cores.counts.sum()),
        n_priced=n_priced,
        n_fitting=n_fitting,
        complete=complete,
    )


def bounded(prices: Prices, cores: Cores) -> tuple[Cores, StepFloor, FloatArray]:
    """Return the cores without the ZeRO stages that cannot fit, and lower bounds of their plans.

    Of the steps, and of the memory for each ZeRO stage: (n, 4); nothing is known of that where
    chunks may lie in a V, whose first stage holds fewer layers and microbatches.
    """
    least, floors = [np.zeros((0, len(ZERO_STAGES)))], []
    for start in range(0, len(cores), BATCH_ROWS):
        table = cores.table.take(np.arange(start, min(start + BATCH_ROWS, len(cores))))
        least.append(prices.least_bytes(table) * (not _in_a_v(cores.pipelines)))
        floors.append(prices.floor(table))
    nothing = [np.zeros(0)]
    floor = StepFloor(
        work_s=np.concatenate([floor.work_s for floor in floors] or nothing),
        fill_s=np.concatenate([floor.fill_s for floor in floors] or nothing),
    )
    least_bytes = np.concatenate(least)
    return cores.with_stages(least_bytes <= prices.allowed_bytes), floor, least_bytes


def _in_a_v(pipelines: Options) -> bool:
    """Whether chunks may lie in a V, where the first stage is the last one too."""
    return any(SCHEDULE_TRAITS[SCHEDULES[at]].v_shaped for at in pipelines.column("schedule"))


def _better(
    prices: Prices,
    scenario: Scenario,
    leaders: Outlook | None,
    failure_free: Outlook,
    steps: Steps,
    n_leaders: int,
) -> Outlook | None:
    """Return the leaders after some more plans that fit.

    Only plans that could be among them have their campaign priced.
    """
    goal = scenario.goal
    close = _able(goal, failure_free, _last_place(goal, leaders, n_leaders))
    if not close.any():
        return leaders
    outlook = prices.outlook(failure_free.table.take(close), steps.take(close))
    outlook = outlook.take(within_goal(goal, outlook))
    return _merged(goal, leaders, outlook, n_leaders)


def _merged(
    goal: GoalSpec, leaders: Outlook | None, more: Outlook, n_leaders: int
) -> Outlook | None:
    if len(more) == 0:
        return leaders
    joined = more if leaders is None else leaders.joined(more)
    ranked = joined.take(order(goal, joined))
    return ranked.take(_first_of_each_mesh(ranked.table)[:n_leaders])


def _faster(fastest: Outlook | None, failure_free: Outlook, n_leaders: int) -> Outlook | None:
    """Return the fastest after some more plans that fit."""
    goal = GoalSpec()
    close = objective(goal, failure_free) <= _last_place(goal, fastest, n_leaders)
    return _merged(goal, fastest, failure_free.take(close), n_leaders)


def _queue(goal: GoalSpec, promise: Outlook) -> IntArray:
    """Return the rows that could meet the goal, the most promising first."""
    rows = np.argsort(objective(goal, promise), kind="stable")
    return rows[within_goal(goal, promise)[rows]]


def _able(goal: GoalSpec, promise: Outlook, limit: float) -> BoolArray:
    """Return which plans could meet the goal and become a leader."""
    able: BoolArray = within_goal(goal, promise) & (objective(goal, promise) <= limit)
    return able


def _last_place(goal: GoalSpec, leaders: Outlook | None, n_leaders: int) -> float:
    """Return the objective above which no plan becomes a leader, near-ties included."""
    if leaders is None or len(leaders) < n_leaders:
        return np.inf
    return float(objective(goal, leaders).max()) * (1 + 2 * NEAR_TIE)


def _first_of_each_mesh(table: PlanTable) -> npt.NDArray[np.intp]:
    """Return the rows that are the first with their mesh, in order."""
    meshes = np.stack([getattr(table, column) for column in MESH], axis=1)
    _, first = np.unique(meshes, axis=0, return_index=True)
    return np.sort(first)
