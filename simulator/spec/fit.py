"""Does it fit? From a predicted peak, how far the prediction may be off, and what there is.

The logarithm of measured over predicted memory is taken as normal; a 90 % interval from
1 / factor to factor says how wide.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

FitVerdict = Literal["fits", "edge", "does not fit"]
"""At the edge, the 90 % interval of the peak holds the capacity: either may happen."""

_NORMAL = NormalDist()
_EDGE = _NORMAL.inv_cdf(0.95)
"""Standard deviations from the middle to an end of a 90 % interval."""


def misfit_probability(peak_bytes: float, capacity_bytes: float, factor: float) -> float:
    """Return the probability that a rank needs more than there is."""
    if peak_bytes <= 0.0 or capacity_bytes <= 0.0:
        return 0.0 if capacity_bytes > 0.0 else 1.0
    over = math.log(peak_bytes / capacity_bytes)
    if factor <= 1.0:
        return float(over > 0.0)
    return float(_NORMAL.cdf(_EDGE * over / math.log(factor)))


def margin_at_risk(risk: float, factor: float) -> float:
    """Return the share of the capacity to leave free so that a plan does not fit with `risk`."""
    if not 0.0 < risk < 1.0:
        return 0.0
    share: float = factor ** (_NORMAL.inv_cdf(risk) / _EDGE)
    return max(0.0, 1.0 - share)


def verdict(probability: float) -> FitVerdict:
    """Return the answer in a word."""
    if probability < 0.05:
        return "fits"
    return "edge" if probability <= 0.95 else "does not fit"
