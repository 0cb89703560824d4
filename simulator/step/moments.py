"""Moments on a time line: of one plan (a float) or of many at once (an array).

The ranks of a pipeline do the same arithmetic either way.
"""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import FloatArray

Moment = float | FloatArray
"""Seconds since the beginning of the step, or a duration."""


def latest(one: Moment, other: Moment) -> Moment:
    """Return the later of two moments."""
    if isinstance(one, float) and isinstance(other, float):
        return max(other, one)
    return np.maximum(one, other)


def earliest(one: Moment, other: Moment) -> Moment:
    """Return the earlier of two moments."""
    if isinstance(one, float) and isinstance(other, float):
        return min(other, one)
    return np.minimum(one, other)


def ever(duration: Moment) -> bool:
    """Whether it takes time, in any plan."""
    return duration != 0.0 if isinstance(duration, float) else bool(np.any(duration))


def plain(column: FloatArray) -> Moment:
    """Return a column of one plan as a number, and one of many plans as it is."""
    return float(column[0]) if len(column) == 1 else column
