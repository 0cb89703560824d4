"""What the limits of a scenario leave of columns of plans."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from simulator.cost.plan_table import BoolArray, IntArray
from simulator.spec.choice import Except, Within, listed

N = TypeVar("N", bound=str)


def allows(choice: object, values: IntArray) -> BoolArray:
    """Return which numbers a choice allows; an unset one allows all."""
    if choice is None:
        return np.ones(len(values), dtype=np.bool_)
    if not isinstance(choice, Within):
        return np.isin(values, listed(choice))
    allowed: BoolArray = ~np.isin(values, choice.exclude)
    if choice.min is not None:
        allowed &= values >= choice.min
    if choice.max is not None:
        allowed &= values <= choice.max
    return allowed


def allowed_names(choice: object, offered: tuple[N, ...]) -> tuple[N, ...]:
    """Return the names that may be proposed: those asked for, or those offered and not excluded."""
    if choice is None:
        return offered
    if isinstance(choice, Except):
        return tuple(name for name in offered if name not in choice.exclude)
    return listed(choice)
