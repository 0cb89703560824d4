"""How far the slowest of n is behind when a step waits for everybody."""

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
