"""Matrix multiplications measured on this very machine, interpolated between shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from simulator.cost.host import slowdown
from simulator.cost.plan_table import FloatArray, IntArray
from simulator.spec.base import Precision
from simulator.spec.cluster import Calibration

SHARPNESS = 2.0
"""Exponent of the squared distance: a measured shape is reproduced, neighbours blend smoothly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGemms:
    """Points of one number format: shape, ranks busy, and rate."""

    shapes: FloatArray
    """(points, 3): logarithms of m, n, k."""
    busy: IntArray
    rates_flops_per_s: FloatArray
    slowdown: tuple[float, ...]
    """Of compute with 1, 2, 3 ... ranks busy; empty means unknown."""

    @classmethod
    def of(cls, calibration: Calibration, precision: Precision) -> Self:
        """Take the points of a precision, or all when that one was not measured."""
        points = [point for point in calibration.gemms if point.precision is precision]
        points = points or list(calibration.gemms)
        sizes = np.array([(point.m, point.n, point.k) for point in points], dtype=np.float64)
        times_s = np.array([point.time_s for point in points])
        return cls(
            shapes=np.log(sizes),
            busy=np.array([point.n_busy_ranks for point in points], dtype=np.int64),
            rates_flops_per_s=2.0 * np.prod(sizes, axis=1) / times_s,
            slowdown=calibration.shared_slowdown,
        )

    @property
    def best_rate_alone(self) -> float:
        """Highest rate with the fewest ranks busy: what the machine can do."""
        return float(self.rates_flops_per_s[self.busy == self.busy.min()].max())

    def rate(self, m: FloatArray, n: FloatArray, k: FloatArray, busy: FloatArray) -> FloatArray:
        """Rate near a shape, with `busy` ranks on the host."""
        wanted = np.log(np.stack(np.broadcast_arrays(m, n, k), axis=-1))
        rates = np.empty(wanted.shape[:-1])
        for level in np.unique(busy):
            rows = busy == level
            rates[rows] = self._interpolate(wanted[rows], float(level))
        return rates

    def _interpolate(self, wanted: FloatArray, busy: float) -> FloatArray:
        distance = np.abs(np.log(self.busy / busy))
        nearest = int(self.busy[np.argmin(distance)])
        chosen = self.busy == nearest
        squared = ((wanted[:, None, :] - self.shapes[chosen][None]) ** 2).sum(axis=-1)
        weights = (squared + 1e-6) ** -SHARPNESS
        logs = (weights * np.log(self.rates_flops_per_s[chosen])).sum(axis=1) / weights.sum(axis=1)
        rates: FloatArray = np.exp(logs) * (self._slowdown(nearest) / self._slowdown(busy))
        return rates

    def _slowdown(self, busy: float) -> float:
        return float(slowdown(self.slowdown, np.array([busy]))[0])
