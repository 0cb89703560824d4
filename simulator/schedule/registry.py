"""The table of schedules: adding one is an order function and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from simulator.schedule.action import Action
from simulator.schedule.orders import (
    Shape,
    gpipe,
    interleaved,
    looped_breadth_first,
    one_forward_one_backward,
    zero_bubble,
)
from simulator.schedule.schedule import Schedule
from simulator.schedule.v_orders import dualpipe_v, zero_bubble_v
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan import PlanSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRule:
    """One schedule that a plan can name."""

    order: Callable[[Shape, int], list[Action]]
    """What a rank does, in order."""
    chunks: tuple[int, int]
    """Fewest and most chunks of a rank."""
    description: str


MANY = 10_000

SCHEDULE_RULES: dict[str, ScheduleRule] = {
    "gpipe": ScheduleRule(
        order=gpipe,
        chunks=(1, 1),
        description="all forwards, then all backwards",
    ),
    "1f1b": ScheduleRule(
        order=one_forward_one_backward,
        chunks=(1, 1),
        description="one forward, one backward in turn; at most pp microbatches in flight",
    ),
    "interleaved-1f1b": ScheduleRule(
        order=interleaved,
        chunks=(1, MANY),
        description="1f1b over several chunks per rank; the bubble shrinks by their number",
    ),
    "looped-bfs": ScheduleRule(
        order=looped_breadth_first,
        chunks=(1, MANY),
        description="every microbatch through a chunk before the next chunk",
    ),
    "zero-bubble": ScheduleRule(
        order=zero_bubble,
        chunks=(1, MANY),
        description="gradients of weights fill the bubble; ZB-H1 with one chunk per rank",
    ),
    "zb-v": ScheduleRule(
        order=zero_bubble_v,
        chunks=(2, 2),
        description="chunks in a V, gradients of weights put off: no bubble with even passes",
    ),
    "dualpipe-v": ScheduleRule(
        order=dualpipe_v,
        chunks=(2, 2),
        description="chunks in a V, forwards and backwards of both directions paired",
    ),
}
"""Schedules by name. Plans can give those of `simulator.spec.plan.ScheduleName`."""


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
    fewest, most = rule.chunks
    if not fewest <= virtual_stages <= most:
        able = [
            other
            for other, candidate in SCHEDULE_RULES.items()
            if candidate.chunks[0] <= virtual_stages <= candidate.chunks[1]
        ]
        count = "one chunk" if most == 1 else f"{fewest} chunks"
        raise InputError(
            f"schedule {name} has {count} per rank, and virtual_stages={virtual_stages}",
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
