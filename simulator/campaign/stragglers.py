"""The slowest of n: what jitter and slow nodes do to a step that waits for everybody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray

_GRID = np.linspace(-9.0, 13.0, 4401)  # standard deviations; the integrand is smooth at 0.005


def expected_normal_maximum(n: npt.ArrayLike) -> FloatArray:
    """Expected largest of n independent standard normals, by quadrature.

    E = integral over x >= 0 of (1 - Phi^n) minus integral over x < 0 of Phi^n.
    """
    from scipy.integrate import simpson
    from scipy.special import log_ndtr

    counts = np.asarray(n, dtype=np.float64)
    log_all_below = counts[..., None] * log_ndtr(_GRID)
    zero = int(np.searchsorted(_GRID, 0.0))
    above = simpson(-np.expm1(log_all_below[..., zero:]), x=_GRID[zero:])
    below = simpson(np.exp(log_all_below[..., : zero + 1]), x=_GRID[: zero + 1])
    return np.asarray(above - below)


def expected_exponential_maximum(n: npt.ArrayLike) -> FloatArray:
    """Expected largest of n independent exponentials of mean 1: the harmonic number H_n."""
    from scipy.special import digamma

    return np.asarray(digamma(np.asarray(n, dtype=np.float64) + 1) + np.euler_gamma)


def jitter_slowdown(variation: npt.ArrayLike, n: npt.ArrayLike) -> FloatArray:
    """Step time over the mean when each of n ranks jitters anew every step.

    `variation` is the standard deviation of a rank's step over its mean.
    """
    return 1 + np.asarray(variation, dtype=np.float64) * expected_normal_maximum(n)


def any_slow_probability(slow_fraction: npt.ArrayLike, n: npt.ArrayLike) -> FloatArray:
    """Chance that at least one of n nodes is a slow one, 1 - (1 - p)^n."""
    fraction = np.asarray(slow_fraction, dtype=np.float64)
    return -np.expm1(np.asarray(n, dtype=np.float64) * np.log1p(-fraction))
