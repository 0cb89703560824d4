"""Which ranks wait for each other, in every pass or at the end of a step, for many plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
from simulator.step.slowest import expected_normal_maximum


@dataclass(frozen=True, slots=True, kw_only=True)
class Meetings:
    """Who waits for whom; arrays of shape (n,)."""

    n_together: IntArray
    """Ranks of a stage that wait for each other in every pass."""
    n_columns: IntArray
    """Pipeline columns that meet at the end of the step only."""

    @classmethod
    def of(cls, table: PlanTable) -> Self:
        """Tensor- and context-parallel ranks meet in every pass, and all data-parallel ones too
        where weights are gathered or gradients reduced with every pass, or experts exchanged.
        """
        zero_2_alone = (table.zero_stage == 2) & (table.pp == 1)
        in_step = (table.zero_stage == 3) | zero_2_alone | (table.ep > 1)
        n_columns = np.where(in_step, 1, table.dp)
        return cls(n_together=table.n_ranks // table.pp // n_columns, n_columns=n_columns)


def column_lag_s(
    passes_s: FloatArray, table: PlanTable, meetings: Meetings, jitter: float
) -> FloatArray:
    """How much later than the mean column the slowest one is, in s.

    `passes_s` is what the busiest rank computes in a step. The largest of n normal numbers scatters
    less than one of them (0.61 for n = 8, 0.43 for 64): 1 / (1 + 0.35 ln n).
    """
    scatter = jitter / (1.0 + 0.35 * np.log(meetings.n_together))
    n_passes = 2.0 * table.virtual_stages * table.n_microbatches
    lag_s: FloatArray = (
        scatter * passes_s / np.sqrt(n_passes) * expected_largest(meetings.n_columns)
    )
    return lag_s


def expected_largest(n: IntArray) -> FloatArray:
    """Expected largest of n normal numbers, reckoned once per different n; shape (n,)."""
    different, inverse = np.unique(n, return_inverse=True)
    return expected_normal_maximum(different)[inverse]
