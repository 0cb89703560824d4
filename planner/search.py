"""The search: every legal plan is priced, the best meshes are simulated by events and ranked."""

from __future__ import annotations

import time

from planner.fewer_nodes import NewPlans
from planner.finalists import Judge, confirm, if_nothing_failed
from planner.goal_missed import goal_missed
from planner.infeasible import nearest_plan, no_legal_plan, nothing_fits
from planner.pricing import Pricing
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
        raise _no_answer(scenario)
    return result


def find_plans(
    scenario: Scenario, *, top: int = 10, max_priced: int = MAX_PRICED
) -> SearchResult | None:
    """Return the best plans of a scenario as `search` does, or None when it has no answer."""
    started_s = time.perf_counter()
    space, pricing = Space.of(scenario), Pricing.of(scenario)
    found = sweep(pricing, scenario, space, n_leaders=top + MORE_LEADERS, max_priced=max_priced)
    if found.leaders is None or found.fastest is None:
        return None
    judge = Judge(scenario, pricing.resilience, NewPlans())
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


def _no_answer(scenario: Scenario) -> NoFeasiblePlan:
    missed = goal_missed(scenario)
    if missed is not None:
        return missed
    nearest = nearest_plan(scenario)
    return no_legal_plan(scenario) if nearest is None else nothing_fits(scenario, nearest)
