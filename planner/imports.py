"""Settings that somebody has, as a plan that can be compared with ours."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from planner.export import EXPORTERS, find_exporter
from planner.fewer_nodes import NewPlans
from simulator.campaign.predict import predict
from simulator.spec.errors import InputError
from simulator.spec.legality import require_legal
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile

MOST_BYTES = 1024 * 1024
"""Longest file of settings that is read."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A plan that was read, beside those that it is to be compared with."""

    plan_file: PlanFile
    """The plan and its prediction; the alternatives are those of the answer."""
    unread: tuple[str, ...]
    """Settings that are no decision of a plan."""


READERS = tuple(name for name, exporter in EXPORTERS.items() if exporter.read is not None)
"""Frameworks whose settings can be read."""


def read_settings(text: str, where: str, framework: str, answer: PlanFile) -> Imported:
    """Return the plan of a framework's settings, for the scenario of an answer.

    Raises InputError where they are for another model or batch, contradict themselves, or are no
    legal plan.
    """
    exporter = find_exporter(framework, where="--from")
    if exporter.read is None:
        raise InputError(
            f"{framework} has no settings of its own: its files hold a plan.json",
            where="--from",
            fix=f"read those of {', '.join(READERS)}",
        )
    scenario = answer.scenario
    try:
        reading = exporter.read(text, where, scenario)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"these settings are no plan: {reason}", where=where) from None
    plan = _with_recovery(reading.plan, answer.plan)
    require_legal(
        scenario.model, scenario.job, plan, n_devices=scenario.cluster.n_devices, where=where
    )
    prediction = predict(scenario, plan, engine="events", replan=NewPlans())
    mine = answer.model_copy(update={"plan": plan, "prediction": prediction})
    return Imported(mine, reading.unread)


def _with_recovery(plan: PlanSpec, best: PlanSpec) -> PlanSpec:
    """Return the plan with what the best one does about failures: no settings say it."""
    names = ("checkpoint_interval_s", "n_spare_nodes", "recovery", "isolation_groups")
    decisions = {name: getattr(best, name) for name in names}
    if plan.dp_replicate % (best.isolation_groups or 1):
        decisions["isolation_groups"] = None
    return plan.model_copy(update=decisions)
