"""Kernel times of a layer, by kind of kernel."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from simulator.cost.plan_table import FloatArray

BACKWARD_TRAFFIC = 1.5
"""Memory traffic of a backward pass over its forward."""
BACKWARD_MATMULS = 2.0
"""Two multiplications of the same shape: gradients of the input and of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTimes:
    """Seconds for one microbatch; arrays over the table."""

    matmul_s: FloatArray
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
        matmuls_s = BACKWARD_MATMULS * self.matmul_s
        return matmuls_s + self.attention_backward_s + self.elementwise_backward_s

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
