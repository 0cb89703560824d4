"""Kernel times of a layer, by kind of kernel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from simulator.cost.plan_table import FloatArray

BACKWARD_TRAFFIC = 1.55
"""Memory traffic of a backward pass over its forward."""
QUANTISE_BYTES = 4.0
"""Traffic of casting one value: 2 read, 1 written, 1 written transposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTimes:
    """Seconds for one microbatch; arrays over the table."""

    matmul_s: FloatArray
    matmul_backward_s: FloatArray
    attention_s: FloatArray
    attention_backward_s: FloatArray
    elementwise_s: FloatArray
    elementwise_backward_s: FloatArray

    @property
    def forward_s(self) -> FloatArray:
        """All kernels of the forward pass."""
        return self.matmul_s + self.attention_s + self.elementwise_s

    @property
    def backward_s(self) -> FloatArray:
        """All kernels of the backward pass."""
        return self.matmul_backward_s + self.attention_backward_s + self.elementwise_backward_s

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{
                part.name: getattr(self, part.name) + getattr(other, part.name)
                for part in fields(self)
            }
        )

    @classmethod
    def zeros(cls, n: int) -> Self:
        """No kernels at all."""
        return cls(**{part.name: np.zeros(n) for part in fields(cls)})
