"""How large a checkpoint is and how long it takes to write."""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import FloatArray
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec


def state_bytes_per_parameter(job: JobSpec) -> float:
    """Bytes per parameter that a checkpoint holds: weights, master weights, optimizer moments.

    AdamW in 16 bit: 2 + 4 + 4 + 4 = 14. Published: BLOOM 13.07 (2.3 TB for 176 B), MLPerf Storage
    v2 12.9 to 13.1.
    """
    moments = {"adamw": 8.0, "sgd": 0.0}[job.optimizer]
    weights = 4.0 if job.precision is Precision.FP32 else 2.0 + 4.0
    return weights + moments


def write_s(
    state_bytes: float, n_nodes: FloatArray, node_bytes_per_s: float, store_bytes_per_s: float
) -> FloatArray:
    """Time to write a checkpoint that every node holds an equal part of, to one shared store."""
    return state_bytes / np.minimum(n_nodes * node_bytes_per_s, store_bytes_per_s)
