"""Weibull lifetimes of ageing parts, H(t) = (t / scale)^shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray


def weibull_scale(mean: npt.ArrayLike, shape: npt.ArrayLike) -> FloatArray:
    """Scale of the Weibull distribution with that mean and shape; mean = scale Gamma(1 + 1/k)."""
    from scipy.special import gamma

    return np.asarray(
        np.asarray(mean, dtype=np.float64) / gamma(1 + 1 / np.asarray(shape, dtype=np.float64))
    )
