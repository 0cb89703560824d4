"""The verbs as Python functions; whatever is heavy is imported when one of them is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from armillary.simulation import Simulation
    from planner.explain import Explanation
    from planner.result import SearchResult
    from planner.size import Sizing
    from planner.whatif import WhatIf
    from simulator.spec.plan_file import PlanFile
    from simulator.spec.scenario import Scenario
    from simulator.step.predict import Engine


def plan(scenario: Scenario | str | Path, *, top: int = 10) -> SearchResult:
    """Return the best plans of a scenario or of a scenario file.

    Raises NoFeasiblePlan, with what would help, when there is none.
    """
    from planner.search import search

    return search(_scenario(scenario), top=top)


def explain(
    plan_file: PlanFile | str | Path,
    rank: int | None = None,
    *,
    against: int | None = None,
    number: str | None = None,
) -> Explanation:
    """Return what limits the chosen plan of a plan file or the one of a rank, and why."""
    from planner.explain import explain as explained
    from simulator.catalog.plan_json import read_plan_file
    from simulator.spec.plan_file import PlanFile

    file = plan_file if isinstance(plan_file, PlanFile) else read_plan_file(plan_file)
    return explained(file.choosing(rank), against=against, number=number)


def simulate(
    place: str | Path | PlanFile,
    *,
    rank: int | None = None,
    engine: Engine = "events",
    n_replicas: int = 20,
    within: float | None = None,
) -> Simulation:
    """Return what happens in a step and over the training of a plan.

    `place` is a scenario file (its best plan is taken) or a plan file. By events the training is
    simulated `n_replicas` times, or until the mean goodput is known to `within`.
    """
    from armillary.choice import chosen_plan
    from armillary.simulation import simulate_plan
    from simulator.spec.plan_file import PlanFile

    plan_file = place if isinstance(place, PlanFile) else chosen_plan(str(place), rank)
    return simulate_plan(plan_file, engine=engine, n_replicas=n_replicas, within=within)


def whatif(scenario: str | Path, changes: Iterable[str]) -> WhatIf:
    """Return the best plan of a scenario file for all combinations of `key=a,b,c` changes."""
    from planner.whatif import Grid
    from planner.whatif import whatif as planned
    from simulator.catalog.scenario_file import load_scenario

    return planned(lambda some: load_scenario(scenario, overrides=some), Grid.of(changes))


def size(
    scenario: Scenario | str | Path,
    *,
    finish_within: float | None = None,
    budget: float | None = None,
    devices: tuple[str, ...] = (),
) -> Sizing:
    """Return how many devices meet a deadline (in seconds) and a budget (in dollars)."""
    from planner.size import size as sized

    return sized(_scenario(scenario), finish_within=finish_within, budget=budget, devices=devices)


def _scenario(scenario: Scenario | str | Path) -> Scenario:
    from simulator.catalog.scenario_file import load_scenario
    from simulator.spec.scenario import Scenario

    return scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
