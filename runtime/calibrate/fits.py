"""Measured collectives as alpha + wire bytes / bandwidth."""

from __future__ import annotations

import numpy as np

from runtime.calibrate.findings import CollectivePoint
from simulator.spec.cluster import CollectiveFit, CollectiveName


def wire_fraction(operation: CollectiveName, n_ranks: int) -> float:
    """Share of the full message that one rank sends, with a ring or in pairs."""
    if operation == "p2p":
        return 1.0
    passes = 2 if operation == "all-reduce" else 1
    return passes * (n_ranks - 1) / n_ranks


def fit_collectives(points: list[CollectivePoint]) -> tuple[CollectiveFit, ...]:
    """Return one fit for each operation, group size and number of busy ranks measured."""
    keys = sorted({(p.operation, p.n_ranks, p.n_busy_ranks) for p in points})
    return tuple(
        _fit([p for p in points if (p.operation, p.n_ranks, p.n_busy_ranks) == key]) for key in keys
    )


def _fit(points: list[CollectivePoint]) -> CollectiveFit:
    """Least squares of the relative error, with both constants kept at or above zero."""
    from scipy.optimize import nnls

    first = points[0]
    fraction = wire_fraction(first.operation, first.n_ranks)
    wire_bytes = np.array([point.message_bytes * fraction for point in points])
    seconds = np.array([point.time_s for point in points])
    unit_bytes = wire_bytes.max()  # keeps both unknowns near the size of a duration
    rows = np.stack([1.0 / seconds, wire_bytes / unit_bytes / seconds], axis=1)
    (alpha_s, unit_s), _ = nnls(rows, np.ones(len(points)))
    predicted_s = alpha_s + wire_bytes / unit_bytes * unit_s
    return CollectiveFit(
        operation=first.operation,
        n_ranks=first.n_ranks,
        n_busy_ranks=first.n_busy_ranks,
        alpha_s=float(alpha_s),
        bandwidth_bytes_per_s=float(unit_bytes / max(unit_s, 1e-12)),
        relative_error=float(np.abs(predicted_s / seconds - 1).mean()),
    )
