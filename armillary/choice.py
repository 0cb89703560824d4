"""Which plan a verb is about: one of a plan file, or the best one for a scenario."""

from __future__ import annotations

from pathlib import Path

from armillary import __version__
from armillary.output_folder import DEFAULT_PLAN
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile


def chosen_plan(
    place: str, rank: int | None = None, *, overrides: tuple[str, ...] = ()
) -> PlanFile:
    """Return a plan file whose chosen plan is the one that was asked for.

    `place` is a plan file, a scenario (its best plan is searched), or a bare number: that rank of
    the last `armillary plan`. Raises InputError when there is no such file or rank.
    """
    if place.isdecimal() and rank is None:
        place, rank = DEFAULT_PLAN, int(place)
    if Path(place).suffix == ".json":
        if overrides:
            raise InputError(
                "--set changes scenarios, not plans", fix="plan again with the changed scenario"
            )
        from simulator.catalog.plan_json import read_plan_file

        return read_plan_file(place).choosing(rank, where=place)
    from planner.search import search
    from simulator.catalog.scenario_file import load_scenario

    result = search(load_scenario(place, overrides=overrides), top=max(rank or 1, 5))
    return result.plan_file(__version__).choosing(rank, where=place)
