"""The plans of a scenario that no other one beats in time, money, energy and memory at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.bounds import fill_shares, least_fill_shares
from planner.counts import by_count
from planner.finalists import Finalist, Judge
from planner.front import beaten, unbeaten
from planner.objective import Outlook, meets, within_goal
from planner.pricing import Pricing
from planner.result import Front, FrontPlan, PredictionSummary
from planner.search import judge_of, no_answer
from planner.space import Space
from planner.sweep import BATCH_ROWS, bounded
from simulator.cost.plan_table import BoolArray, FloatArray, PlanTable
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import GoalSpec, Scenario

TOLERANCE = 0.01
"""Plans that are no more than this share better than another one in anything are left out."""
MOST_POINTS = 40
"""Plans that are simulated and shown; with more of them the tolerance is doubled."""
SLOWEST = 2.0
"""Steps longer than so many times the shortest one on as many devices are no answer."""
HALVINGS = 3
"""Without limits on the number of devices, a half, a quarter and an eighth of them are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one number of devices has on the front."""

    scenario: Scenario
    found: Outlook | None
    n_plans: int
    n_priced: int


def pareto(scenario: Scenario) -> Front:
    """Return the front of a scenario over its numbers of devices; its goal only bounds it.

    Without `limits.devices` the cluster's devices, a half, a quarter and an eighth are tried.
    Raises NoFeasiblePlan when no plan fits or none is legal.
    """
    parts = [_part(one) for one in by_count(_over_counts(scenario))]
    found = [(part, row) for part in parts for row in range(len(part.found or ()))]
    if not found:
        raise no_answer(parts[0].scenario)
    rows = np.concatenate([_criteria(part.found) for part in parts if part.found is not None])
    tolerance = TOLERANCE
    while len(chosen := unbeaten(rows, tolerance=tolerance)) > MOST_POINTS:
        tolerance *= 2
    judged = _judged([found[at] for at in chosen])
    if not judged:
        raise no_answer(parts[0].scenario)
    kept = unbeaten(np.array([_reached(one) for one in judged]))
    plans = [judged[at] for at in kept]
    return Front(
        plans=tuple(
            FrontPlan(
                n_devices=one.plan.n_ranks,
                plan=one.plan,
                prediction=PredictionSummary.of(one.prediction),
            )
            for one in plans
        ),
        counts=tuple(part.scenario.n_devices for part in parts),
        n_plans=sum(part.n_plans for part in parts),
        n_priced=sum(part.n_priced for part in parts),
        tolerance=tolerance,
    )


def _over_counts(scenario: Scenario) -> Scenario:
    """Return the scenario with a choice of numbers of devices; a front has no objective."""
    limits, cluster = scenario.limits, scenario.cluster
    if limits.devices is None:
        halves = [cluster.n_devices >> k for k in range(HALVINGS + 1)]
        unit = cluster.devices_per_node if cluster.n_nodes > 1 else 1
        whole = [n for n in halves if n and n % unit == 0]
        limits = limits.model_copy(update={"devices": tuple(dict.fromkeys(whole))})
    goal = scenario.goal.model_copy(update={"minimize": "time"})
    return scenario.model_copy(update={"limits": limits, "goal": goal})


def _part(scenario: Scenario) -> _Part:
    """Price all plans of one number of devices but those that are proven to be beaten."""
    goal, prices, space = scenario.goal, Pricing.of(scenario), Space.of(scenario)
    all_cores = space.cores()
    cores, floor, least_bytes = bounded(prices, all_cores)
    least = least_fill_shares(cores.table, scenario.model, space.schedules)
    first = np.argsort(floor.with_fill(least), kind="stable")
    found: Outlook | None = None
    n_priced = 0
    for batch in cores.batches(first, BATCH_ROWS):
        table, core = cores.plans(batch)
        promise = prices.promise(table, floor.take(core).with_fill(fill_shares(table)))
        promise = replace(promise, peak_bytes=least_bytes[core, table.zero_stage])
        table = table.take(_able(goal, promise, found))
        n_priced += len(table)
        more = _outlook(prices, goal, table, found)
        if more is not None and len(more) > 0:
            joined = more if found is None else found.joined(more)
            joined = joined.take(joined.step_s <= SLOWEST * joined.step_s.min())
            found = joined.take(unbeaten(_criteria(joined), tolerance=TOLERANCE))
    n_plans = int(all_cores.counts.sum())
    return _Part(scenario=scenario, found=found, n_plans=n_plans, n_priced=n_priced)


def _outlook(
    prices: Pricing, goal: GoalSpec, table: PlanTable, found: Outlook | None
) -> Outlook | None:
    """Return what those of some plans lead to that could be on the front."""
    if len(table) == 0:
        return None
    peak_bytes = prices.peak_bytes(table)
    fits = peak_bytes <= prices.allowed_bytes
    table, peak_bytes = table.take(fits), peak_bytes[fits]
    if len(table) == 0:
        return None
    steps = prices.steps(table)
    promise = replace(prices.promise(table, steps.step_s), peak_bytes=peak_bytes)
    able = _able(goal, promise, found)
    if not able.any():
        return None
    outlook = prices.outlook(table.take(able), steps.take(able))
    return outlook.take(within_goal(goal, outlook))


def _able(goal: GoalSpec, promise: Outlook, found: Outlook | None) -> BoolArray:
    """Return which plans could meet the goal and not be beaten."""
    able = within_goal(goal, promise)
    if found is not None:
        able &= promise.step_s <= SLOWEST * found.step_s.min()
        able &= ~beaten(_criteria(promise), _criteria(found), tolerance=TOLERANCE)
    return able


def _criteria(outlook: Outlook) -> FloatArray:
    """Return time, money, energy and memory, as far as they are known: (n, criteria)."""
    known = (outlook.calendar_s, outlook.cost_usd, outlook.energy_j, outlook.peak_bytes)
    return np.stack([values for values in known if values is not None], axis=1)


def _reached(one: Finalist) -> list[float]:
    """Return the same of a plan that was simulated."""
    campaign, step = one.prediction.campaign, one.prediction.step
    known = (campaign.calendar_s, campaign.cost_usd, campaign.energy_j, step.peak_memory_bytes)
    return [value for value in known if value is not None]


def _judged(chosen: list[tuple[_Part, int]]) -> list[Finalist]:
    """Simulate plans, and what may beat them, by events; return those that meet the goal."""
    judges: dict[int, Judge] = {}
    plans: dict[tuple[int, PlanSpec], None] = {}
    for part, row in chosen:
        scenario = part.scenario
        if scenario.n_devices not in judges:
            judges[scenario.n_devices] = judge_of(scenario, Pricing.of(scenario))
        assert part.found is not None, "only what was found is chosen"
        plan = part.found.table.plan(row, scenario.job.precision)
        better = judges[scenario.n_devices].better(plan)
        plans.update(((scenario.n_devices, each), None) for each in (plan, *better))
    judged = [judges[n].with_spread(judges[n].judge(plan)) for n, plan in plans]
    return [one for one in judged if meets(chosen[0][0].scenario.goal, one.prediction)]
