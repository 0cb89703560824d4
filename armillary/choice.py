"""Which plan a verb is about: one of a plan file, or the best one for a scenario."""

from __future__ import annotations

from pathlib import Path

from armillary.arguments import PLAN, not_accepted, some_rank
from armillary.output_folder import DEFAULT_PLAN
from planner.result import SearchResult
from simulator.spec.errors import InputError
from simulator.spec.legality import require_legal
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

Place = PlanFile | SearchResult | Scenario | str | Path
"""Where a plan is: in a plan file or an answer, or to be searched for a scenario."""


def chosen_plan(
    place: Place, rank: int | None = None, *, overrides: tuple[str, ...] = ()
) -> PlanFile:
    """Return a plan file whose chosen plan is the one that was asked for.

    `place` is a plan file, the answer of a search, a scenario (its best plan is searched), or a
    bare number: that rank of the last `armillary plan`. Raises InputError when there is no such
    file or rank, and for values of other types.
    """
    rank = some_rank(rank)
    if isinstance(place, SearchResult):
        place = place.plan_file()
    if isinstance(place, PlanFile):
        return place.choosing(rank)
    if isinstance(place, Scenario):
        return _searched(place, rank, place.name)
    if not isinstance(place, str | Path):
        raise not_accepted(place, PLAN)
    place = str(place)
    if place.isdecimal() and rank is None:
        place, rank = DEFAULT_PLAN, int(place)
    if Path(place).suffix == ".json":
        if overrides:
            raise InputError(
                "--set changes scenarios, not plans", fix="plan again with the changed scenario"
            )
        from simulator.catalog.plan_json import read_plan_file

        chosen = read_plan_file(place).choosing(rank, where=place)
        require_legal(
            chosen.scenario.model,
            chosen.scenario.job,
            chosen.plan,
            n_devices=chosen.scenario.cluster.n_devices,
            where=place,
        )
        return chosen
    from simulator.catalog.scenario_file import load_scenario

    return _searched(load_scenario(place, overrides=overrides), rank, place)


def _searched(scenario: Scenario, rank: int | None, where: str) -> PlanFile:
    from planner.search import search

    result = search(scenario, top=max(rank or 1, 5))
    return result.plan_file().choosing(rank, where=where)
