"""How many microbatches a pipeline stage holds at once."""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable


def in_flight(table: PlanTable, rank: IntArray) -> FloatArray:
    """Microbatches whose activations the stage holds at its peak; shape of `rank`, (n, stages).

    GPipe keeps all of them, 1F1B as many as there are stages from here to the end. Interleaved
    chunks are counted in shares of a stage: the warm-up of Megatron-LM and one more.

    References
    ----------
    Narayanan et al., arXiv 2104.04473, section 2.2;
    NVIDIA/Megatron-LM:megatron/core/pipeline_parallel/schedules.py
    """
    pp, virtual = table.pp[:, None], table.virtual_stages[:, None]
    n_micro = table.n_microbatches[:, None]
    schedule = table.schedule[:, None]
    plain = np.minimum(pp - rank, n_micro)
    warm_up = 2 * (pp - rank - 1) + (virtual - 1) * pp
    interleaved = np.minimum(warm_up + 1, n_micro * virtual) / virtual
    held: FloatArray = np.select(
        [schedule == SCHEDULES.index("gpipe"), schedule == SCHEDULES.index("interleaved-1f1b")],
        [1.0 * np.broadcast_to(n_micro, rank.shape), interleaved],
        1.0 * plain,
    )
    return held
