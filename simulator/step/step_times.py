"""Where the time of many steps goes: what the closed form returns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray
from simulator.spec.prediction import StepBreakdown


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Where the time of a step goes, as `StepBreakdown` has it; arrays of shape (n,)."""

    forward_s: FloatArray
    backward_s: FloatArray
    recompute_s: FloatArray
    tp_s: FloatArray
    cp_s: FloatArray
    ep_s: FloatArray
    pp_s: FloatArray
    dp_s: FloatArray
    bubble_s: FloatArray
    optimizer_s: FloatArray
    other_s: FloatArray

    @property
    def step_s(self) -> FloatArray:
        """The step time: the sum of all parts."""
        total: FloatArray = sum(getattr(self, field.name) for field in fields(self))
        return total

    @property
    def communication_s(self) -> FloatArray:
        """Time in which nothing is computed because of communication."""
        return self.tp_s + self.cp_s + self.ep_s + self.pp_s + self.dp_s

    @property
    def computing_s(self) -> FloatArray:
        """What the critical rank computes in passes."""
        return self.forward_s + self.backward_s + self.recompute_s

    def towards(self, other: Self, share: FloatArray) -> Self:
        """Return steps that lie a share of the way to others."""
        mixed = {
            field.name: getattr(self, field.name) * (1.0 - share)
            + getattr(other, field.name) * share
            for field in fields(self)
        }
        return type(self)(**mixed)

    def breakdown(self, row: int) -> StepBreakdown:
        """Return the parts of one plan."""
        return StepBreakdown(
            **{field.name: float(getattr(self, field.name)[row]) for field in fields(self)}
        )

    @classmethod
    def nothing(cls, n_rows: int) -> Self:
        """Return steps that take no time yet, to be filled by `put`."""
        return cls(**{field.name: np.zeros(n_rows) for field in fields(cls)})

    def put(self, rows: IntArray, times: StepTimes) -> None:
        """Fill in some rows."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(times, field.name)
