"""Collectives as measured on the cluster: the nearest fit, interpolated over the group size."""

from __future__ import annotations

import math

import numpy as np

from simulator.cost.algorithms import Line
from simulator.cost.groups import Group
from simulator.cost.plan_table import FloatArray, IntArray
from simulator.spec.cluster import CollectiveFit, CollectiveName


def measured_line(operation: CollectiveName, group: Group) -> Line | None:
    """Return the measured time of an operation, or None where it was not measured.

    Of the fits with the nearest number of busy ranks, latency per hop and bandwidth are
    interpolated over the logarithm of the group size, and held beyond the sizes measured.
    """
    fits = [fit for fit in group.measured if fit.operation == operation]
    if not fits:
        return None
    sizes = np.full_like(group.size, 2) if operation == "p2p" else group.size
    latency_s, s_per_byte = np.zeros(len(sizes)), np.zeros(len(sizes))
    for size, busy in set(zip(sizes.tolist(), group.n_busy.tolist(), strict=True)):
        rows = (sizes == size) & (group.n_busy == busy)
        latency_s[rows], s_per_byte[rows] = _interpolated(_nearest_busy(fits, busy), size)
    s_per_byte = s_per_byte / group.levels[0].remaining
    return Line(latency_s, s_per_byte * _wire_share(operation, sizes))


def _wire_share(operation: CollectiveName, sizes: IntArray) -> FloatArray:
    """Bytes through a rank's link over bytes of the message."""
    if operation == "p2p":
        return np.ones(len(sizes))
    turns = 2.0 if operation == "all-reduce" else 1.0
    return turns * (1 - 1 / sizes)


def _nearest_busy(fits: list[CollectiveFit], busy: int) -> list[CollectiveFit]:
    """Fits with the number of busy ranks nearest to the wanted one, by ratio; more on a tie."""
    known = {fit.n_busy_ranks or fit.n_ranks for fit in fits}
    best = min(known, key=lambda count: (abs(math.log(count / busy)), -count))
    return [fit for fit in fits if (fit.n_busy_ranks or fit.n_ranks) == best]


def _interpolated(fits: list[CollectiveFit], size: int) -> tuple[float, float]:
    """Latency in s and s per wire byte for a group size."""
    fits = sorted(fits, key=lambda fit: fit.n_ranks)
    position = [math.log(fit.n_ranks) for fit in fits]
    hop_s = np.interp(math.log(size), position, [fit.alpha_s / _hops(fit.n_ranks) for fit in fits])
    s_per_byte = np.interp(
        math.log(size), position, [1 / fit.bandwidth_bytes_per_s for fit in fits]
    )
    return float(hop_s) * _hops(size), float(s_per_byte)


def _hops(size: int) -> int:
    return max(size - 1, 1)
