"""The verbs as Python functions; whatever is heavy is imported when one of them is called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.result import SearchResult
    from simulator.spec.scenario import Scenario


def plan(scenario: Scenario | str | Path, *, top: int = 10) -> SearchResult:
    """Return the best plans of a scenario or of a scenario file.

    Raises NoFeasiblePlan, with what would help, when there is none.
    """
    from planner.search import search

    return search(_scenario(scenario), top=top)


def _scenario(scenario: Scenario | str | Path) -> Scenario:
    from simulator.catalog.scenario_file import load_scenario
    from simulator.spec.scenario import Scenario

    return scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
