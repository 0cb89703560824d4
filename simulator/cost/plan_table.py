"""Plans as columns: one array per decision, one row per plan.

Every cost function takes a table and returns arrays over its rows. One plan is a table of one row,
so the search over millions and the event simulation of one read the same formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from simulator.spec.base import Precision
from simulator.spec.legality import schedule_column
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import Recompute
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SCHEDULES: tuple[ScheduleName, ...] = tuple(SCHEDULE_TRAITS)
"""Codes of the `schedule` column are positions in this tuple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTable:
    """n plans of one job; all columns have shape (n,)."""

    pp: IntArray
    dp_replicate: IntArray
    dp_shard: IntArray
    cp: IntArray
    tp: IntArray
    ep: IntArray
    zero_stage: IntArray
    sequence_parallel: IntArray
    """0 or 1."""
    schedule: IntArray
    virtual_stages: IntArray
    microbatch_sequences: IntArray
    n_microbatches: IntArray
    recompute: IntArray
    """Codes of `simulator.spec.recompute`."""

    def __len__(self) -> int:
        return len(self.pp)

    @property
    def dp(self) -> IntArray:
        """All data-parallel ranks."""
        return self.dp_replicate * self.dp_shard

    @property
    def n_ranks(self) -> IntArray:
        """Ranks of the job."""
        return self.pp * self.dp * self.cp * self.tp

    @property
    def n_chunks(self) -> IntArray:
        """Model pieces over all pipeline ranks."""
        return self.pp * self.virtual_stages

    @property
    def v_shaped(self) -> IntArray:
        """1 where chunks lie in a V: embedding and head are on the first rank then."""
        return 1 * schedule_column(self.schedule, lambda traits: traits.v_shaped)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> PlanTable:
        """Return the rows of a mask or of an index array."""
        return PlanTable(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def joined(self, other: PlanTable) -> PlanTable:
        """Return the rows of both, these first."""
        return PlanTable(
            **{
                field.name: np.concatenate([getattr(self, field.name), getattr(other, field.name)])
                for field in fields(self)
            }
        )

    def plan(self, row: int, precision: Precision) -> PlanSpec:
        """Return one row as a plan."""
        values = {field.name: int(getattr(self, field.name)[row]) for field in fields(self)}
        return PlanSpec.model_validate(
            values
            | {
                "sequence_parallel": bool(values["sequence_parallel"]),
                "schedule": SCHEDULES[values["schedule"]],
                "recompute": Recompute.of_code(values["recompute"]).name,
                "precision": precision,
            }
        )

    @classmethod
    def of(cls, plans: Sequence[PlanSpec]) -> PlanTable:
        """Return the table of some plans. Uneven `layers_per_chunk` are not part of a table."""
        columns = {
            field.name: np.array([_code(plan, field.name) for plan in plans], dtype=np.int64)
            for field in fields(cls)
        }
        return cls(**columns)


def _code(plan: PlanSpec, column: str) -> int:
    if column == "schedule":
        return SCHEDULES.index(plan.schedule)
    if column == "recompute":
        return plan.recompute_kind.code
    return int(getattr(plan, column))
