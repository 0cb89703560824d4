"""Nodes in repair while a job runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray


def offered_repairs(
    n_nodes: npt.ArrayLike, failures_per_node_s: npt.ArrayLike, repair_s: npt.ArrayLike
) -> FloatArray:
    """Mean number of nodes in repair while n nodes run: n x rate x repair time."""
    return (
        np.asarray(n_nodes, dtype=np.float64)
        * np.asarray(failures_per_node_s, dtype=np.float64)
        * np.asarray(repair_s, dtype=np.float64)
    )
