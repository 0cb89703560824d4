"""The table of schedules: adding one is an order function and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from simulator.schedule.action import Action
from simulator.schedule.orders import Shape, gpipe, interleaved, one_forward_one_backward
from simulator.schedule.schedule import Schedule
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan import PlanSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRule:
    """One schedule that a plan can name."""

    order: Callable[[Shape, int], list[Action]]
    """What a rank does, in order."""
    several_chunks: bool
    """Whether a rank may hold more than one chunk."""
    description: str


SCHEDULE_RULES: dict[str, ScheduleRule] = {
    "gpipe": ScheduleRule(
        order=gpipe,
        several_chunks=False,
        description="all forwards, then all backwards",
    ),
    "1f1b": ScheduleRule(
        order=one_forward_one_backward,
        several_chunks=False,
        description="one forward, one backward in turn; at most pp microbatches in flight",
    ),
    "interleaved-1f1b": ScheduleRule(
        order=interleaved,
        several_chunks=True,
        description="1f1b over several chunks per rank; the bubble shrinks by their number",
    ),
}
"""Schedules by the name that a plan gives (`simulator.spec.plan.ScheduleName`)."""


@lru_cache(maxsize=64)
def make_schedule(name: str, pp: int, virtual_stages: int, n_microbatches: int) -> Schedule:
    """Return what every pipeline rank does in one step.

    Raises InputError for an unknown name or sizes that the schedule cannot have.
    """
    if name not in SCHEDULE_RULES:
        raise unknown_name("schedule", name, SCHEDULE_RULES)
    rule = SCHEDULE_RULES[name]
    if min(pp, virtual_stages, n_microbatches) < 1:
        raise InputError(
            f"pp={pp}, virtual_stages={virtual_stages}, n_microbatches={n_microbatches}: "
            "all must be at least 1"
        )
    if virtual_stages > 1 and not rule.several_chunks:
        able = [other for other, candidate in SCHEDULE_RULES.items() if candidate.several_chunks]
        raise InputError(
            f"schedule {name} has one chunk per rank, and virtual_stages={virtual_stages}",
            fix="take " + " or ".join(able),
        )
    shape = Shape(pp=pp, virtual_stages=virtual_stages, n_microbatches=n_microbatches)
    return Schedule(
        name=name,
        n_chunks=shape.n_chunks,
        n_microbatches=n_microbatches,
        ranks=tuple(tuple(rule.order(shape, rank)) for rank in range(pp)),
    )


def actions_of(plan: PlanSpec) -> Schedule:
    """Return the schedule of a plan."""
    return make_schedule(plan.schedule, plan.pp, plan.virtual_stages, plan.n_microbatches)
