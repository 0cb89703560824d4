"""The table of orders: adding a schedule is an order function, an entry here and its traits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from simulator.schedule.action import Action
from simulator.schedule.orders import (
    Shape,
    gpipe,
    interleaved,
    looped_breadth_first,
    one_forward_one_backward,
    zero_bubble,
    zero_bubble_h2,
)
from simulator.schedule.schedule import Schedule
from simulator.schedule.v_orders import dualpipe_v, zero_bubble_v
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName, able_with

ORDERS: dict[ScheduleName, Callable[[Shape, int], list[Action]]] = {
    "gpipe": gpipe,
    "1f1b": one_forward_one_backward,
    "interleaved-1f1b": interleaved,
    "looped-bfs": looped_breadth_first,
    "zero-bubble": zero_bubble,
    "zb-h2": zero_bubble_h2,
    "zb-v": zero_bubble_v,
    "dualpipe-v": dualpipe_v,
}
"""What a rank does, in order. Traits of the same names are in `simulator.spec.schedules`."""


@lru_cache(maxsize=64)
def make_schedule(name: str, pp: int, virtual_stages: int, n_microbatches: int) -> Schedule:
    """Return what every pipeline rank does in one step.

    Raises InputError for an unknown name or sizes that the schedule cannot have.
    """
    known = next((each for each in ORDERS if each == name), None)
    if known is None:
        raise unknown_name("schedule", name, ORDERS)
    traits = SCHEDULE_TRAITS[known]
    if min(pp, virtual_stages, n_microbatches) < 1:
        raise InputError(
            f"pp={pp}, virtual_stages={virtual_stages}, n_microbatches={n_microbatches}: "
            "all must be at least 1"
        )
    able = able_with(virtual_stages)
    if known not in able:
        fewest = traits.fewest_chunks
        count = "one chunk" if traits.most_chunks == 1 else f"{fewest} chunks"
        raise InputError(
            f"schedule {name} has {count} per rank, and virtual_stages={virtual_stages}",
            fix="take " + " or ".join(able),
        )
    shape = Shape(pp=pp, virtual_stages=virtual_stages, n_microbatches=n_microbatches)
    return Schedule(
        name=name,
        n_chunks=shape.n_chunks,
        n_microbatches=n_microbatches,
        ranks=tuple(tuple(ORDERS[known](shape, rank)) for rank in range(pp)),
    )


def actions_of(plan: PlanSpec) -> Schedule:
    """Return the schedule of a plan."""
    return make_schedule(plan.schedule, plan.pp, plan.virtual_stages, plan.n_microbatches)
