"""The search: every legal plan is priced, the best meshes are simulated by events and ranked."""

from __future__ import annotations

import time
from dataclasses import replace

from planner.balance import Balance
from planner.counts import by_count
from planner.fewer_nodes import NewPlans
from planner.finalists import Judge, confirm, if_nothing_failed
from planner.goal_missed import goal_missed
from planner.infeasible import nearest_plan, no_legal_plan, nothing_fits
from planner.objective import achieved, objective
from planner.pricing import Pricing, at_peak
from planner.result import SearchResult
from planner.space import Space
from planner.sweep import MAX_PRICED, sweep
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.scenario import Scenario

MORE_LEADERS = 3
"""Finalists beyond those asked for: events may change the order."""


def search(scenario: Scenario, *, top: int = 10, max_priced: int = MAX_PRICED) -> SearchResult:
    """Return the best plans of a scenario, at most `top`, each the best one of its mesh.

    Raises InputError for a scenario that contradicts itself, and NoFeasiblePlan with what would
    help when it has no answer.
    """
    result = find_plans(scenario, top=top, max_priced=max_priced)
    if result is None:
        raise no_answer(next(by_count(scenario)))
    return result


def find_plans(
    scenario: Scenario, *, top: int = 10, max_priced: int = MAX_PRICED
) -> SearchResult | None:
    """Return the best plans of a scenario as `search` does, or None when it has no answer.

    Of several numbers of devices the one with the best plan is the answer.
    """
    started_s = time.perf_counter()
    best: SearchResult | None = None
    tried: list[SearchResult] = []
    for counted in by_count(scenario):
        if best is not None and not _could_beat(counted, _achieved(best)):
            continue
        found = _of_one_count(counted, top=top, max_priced=max_priced)
        tried += [] if found is None else [found]
        if found is not None and (best is None or _achieved(found) < _achieved(best)):
            best = found
    if best is None:
        return None
    return replace(
        best,
        n_plans=sum(each.n_plans for each in tried),
        n_priced=sum(each.n_priced for each in tried),
        n_fitting=sum(each.n_fitting for each in tried),
        complete=all(each.complete for each in tried),
        seconds=time.perf_counter() - started_s,
    )


def _of_one_count(scenario: Scenario, *, top: int, max_priced: int) -> SearchResult | None:
    started_s = time.perf_counter()
    space, pricing = Space.of(scenario), Pricing.of(scenario)
    found = sweep(pricing, scenario, space, n_leaders=top + MORE_LEADERS, max_priced=max_priced)
    if found.leaders is None or found.fastest is None:
        return None
    judge = judge_of(scenario, pricing)
    plans = confirm(judge, found.leaders, top=top)
    if not plans:
        return None
    return SearchResult(
        scenario=scenario,
        plans=plans,
        fastest=if_nothing_failed(judge, found.fastest, plans),
        n_plans=found.n_plans,
        n_priced=found.n_priced,
        n_fitting=found.n_fitting,
        complete=found.complete,
        seconds=time.perf_counter() - started_s,
    )


def judge_of(scenario: Scenario, pricing: Pricing) -> Judge:
    """Return who simulates the finalists, and looks for uneven plans where limits ask for them."""
    judge = Judge(scenario, pricing.resilience, NewPlans())
    if scenario.limits.balance:
        return replace(judge, better=Balance(scenario, pricing).better)
    return judge


def _achieved(result: SearchResult) -> float:
    """Return what is to be least, of the best plan."""
    return achieved(result.scenario.goal, result.best.prediction)


def _could_beat(scenario: Scenario, value: float) -> bool:
    """Whether the peak of the data sheet leads to less of what is to be least."""
    peak = at_peak(scenario)
    return peak is not None and bool(objective(scenario.goal, peak)[0] < value)


def no_answer(scenario: Scenario) -> NoFeasiblePlan:
    """Return the error for a scenario without a plan, with what would help."""
    missed = goal_missed(scenario)
    if missed is not None:
        return missed
    nearest = nearest_plan(scenario)
    return no_legal_plan(scenario) if nearest is None else nothing_fits(scenario, nearest)
