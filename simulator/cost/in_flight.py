"""How many microbatches a pipeline stage holds at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable
from simulator.cost.unique import unique_rows
from simulator.schedule import make_schedule

ENOUGH_ROUNDS = 3
"""Times pp microbatches after which a schedule that holds a bounded number holds no more."""

EVERYTHING = ("gpipe", "looped-bfs")
"""Schedules that run all forwards before the first backward."""


def in_flight(table: PlanTable, rank: IntArray) -> FloatArray:
    """Microbatches whose activations the stage holds at its peak; shape of `rank`, (n, stages).

    1F1B holds as many as there are stages from here to the end. Interleaved chunks are counted in
    shares of a stage: the warm-up of Megatron-LM and one more. For the other schedules their tables
    are counted; what a put-off gradient of weights needs is held until it is computed.

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
    everything = np.isin(schedule, [SCHEDULES.index(name) for name in EVERYTHING])
    held: FloatArray = np.select(
        [everything, schedule == SCHEDULES.index("interleaved-1f1b")],
        [1.0 * np.broadcast_to(n_micro, rank.shape), interleaved],
        1.0 * plain,
    )
    formula = np.isin(table.schedule, [SCHEDULES.index(name) for name in (*EVERYTHING, *_FORMULAS)])
    if not formula.all():
        held[~formula] = _counted(table.take(~formula), rank[~formula])
    return held


def losses_in_flight(table: PlanTable) -> IntArray:
    """Microbatches whose loss waits to be differentiated: all, or one after the other; (n,)."""
    everything = np.isin(table.schedule, [SCHEDULES.index(name) for name in EVERYTHING])
    return np.where(everything, table.n_microbatches, 1)


_FORMULAS = ("1f1b", "interleaved-1f1b")


def _counted(table: PlanTable, rank: IntArray) -> FloatArray:
    """Count in the table of every distinct schedule."""
    n_micro = np.minimum(table.n_microbatches, ENOUGH_ROUNDS * table.pp)
    columns = (table.schedule, table.pp, table.virtual_stages, n_micro)
    subset, inverse = unique_rows(table, columns)
    n_distinct = np.minimum(subset.n_microbatches, ENOUGH_ROUNDS * subset.pp)
    held = np.zeros(rank.shape)
    for row in range(len(subset)):
        sizes = (subset.pp[row], subset.virtual_stages[row], n_distinct[row])
        rows = inverse == row
        held[rows] = _peaks(SCHEDULES[subset.schedule[row]], *map(int, sizes))[rank[rows]]
    return held


@lru_cache(maxsize=1 << 10)
def _peaks(name: str, pp: int, virtual_stages: int, n_microbatches: int) -> FloatArray:
    schedule = make_schedule(name, pp, virtual_stages, n_microbatches)
    return np.array(schedule.peak_in_flight()) / virtual_stages
