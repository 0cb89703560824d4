"""How large a checkpoint is, and how long it takes to move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.data_parallel import state_bytes, weight_bytes
from simulator.cost.parameters import count_parameters
from simulator.cost.plan_table import FloatArray
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec


def state_bytes_per_parameter(job: JobSpec) -> float:
    """Bytes per parameter that a checkpoint holds: weights, master weights, optimizer moments.

    AdamW in 16 bit: 2 + 4 + 4 + 4 = 14. Published: BLOOM 13.07 (2.3 TB for 176 B), MLPerf Storage
    v2 12.9 to 13.1.
    """
    return weight_bytes(job) + state_bytes(job)


def checkpoint_bytes(model: ModelSpec, job: JobSpec) -> float:
    """Size of a whole checkpoint."""
    return count_parameters(model).total * state_bytes_per_parameter(job)


def transfer_s(
    moved_bytes: npt.ArrayLike,
    n_nodes: FloatArray,
    node_bytes_per_s: float,
    tier_bytes_per_s: float,
    *,
    shared: bool,
) -> FloatArray:
    """Time to write or read a checkpoint of which every node holds an equal part.

    A shared tier is limited by the store or by the nodes' links together, a tier of its own on
    every node by that node's part.
    """
    rate = n_nodes * tier_bytes_per_s
    if shared:
        rate = np.minimum(n_nodes * node_bytes_per_s, tier_bytes_per_s)
    return np.asarray(moved_bytes, float) / rate
