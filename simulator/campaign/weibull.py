"""Fleets whose parts age: failures of Weibull lifetimes, H(t) = (t / scale)^shape."""

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


def expected_first_failures(
    n_units: npt.ArrayLike, mean_life: npt.ArrayLike, shape: npt.ArrayLike, horizon: npt.ArrayLike
) -> FloatArray:
    """Units of a new fleet that have failed at least once by the horizon.

    n (1 - exp(-(T/scale)^k)); `horizon` and `mean_life` in the same unit of time.
    """
    scale = weibull_scale(mean_life, shape)
    aged = (np.asarray(horizon, dtype=np.float64) / scale) ** np.asarray(shape, dtype=np.float64)
    return np.asarray(n_units, dtype=np.float64) * -np.expm1(-aged)


def minimum_scale(scale: npt.ArrayLike, shape: npt.ArrayLike, n_units: npt.ArrayLike) -> FloatArray:
    """Scale of the first failure among n units: a Weibull of the same shape, scale n^(-1/k)."""
    exponent = -1 / np.asarray(shape, dtype=np.float64)
    return np.asarray(scale, dtype=np.float64) * np.asarray(n_units, dtype=np.float64) ** exponent
