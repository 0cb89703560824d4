"""Ranks that share the cores of one host, as workers on a CPU do."""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
from simulator.spec.cluster import ClusterSpec

BUSY_STEPS = 64
"""Shares of a rank that are told apart."""


def busy_ranks(cluster: ClusterSpec, table: PlanTable) -> FloatArray:
    """Ranks that compute at the same time on one node, on average over a step.

    A rank that waits in a pipeline bubble leaves its core to others: of m v passes (v chunks per
    rank, m microbatches) and p - 1 empty ones the rank is busy in m v.
    """
    ranks = np.minimum(table.n_ranks, cluster.devices_per_node).astype(np.float64)
    if not shares_cores(cluster):
        return ranks
    passes = table.n_microbatches * table.virtual_stages
    busy = ranks * passes / (passes + table.pp - 1)
    total: FloatArray = np.maximum(busy, 1.0) + cluster.host.n_other_ranks
    return total


def shares_cores(cluster: ClusterSpec) -> bool:
    """Whether it was measured that ranks slow each other down."""
    return cluster.calibration is not None and bool(cluster.calibration.shared_slowdown)


def busy_columns(cluster: ClusterSpec, table: PlanTable) -> tuple[IntArray, ...]:
    """Return the column that prices depend on because ranks share cores."""
    if not shares_cores(cluster):
        return ()
    return (np.round(BUSY_STEPS * busy_ranks(cluster, table)).astype(np.int64),)


def slowdown(steps: tuple[float, ...], busy: FloatArray) -> FloatArray:
    """Slowdown with some ranks busy, from that with 1, 2, 3 ... ranks."""
    if not steps:
        return np.ones(len(busy))
    result: FloatArray = np.interp(busy, np.arange(1, len(steps) + 1), steps)
    return result
