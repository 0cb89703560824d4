"""Kernel times of a layer, by kind of kernel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from simulator.cost.data_parallel import gradient_bytes
from simulator.cost.layers import Linear
from simulator.cost.plan_table import FloatArray
from simulator.cost.setting import Setting

BACKWARD_TRAFFIC = 1.55
"""Memory traffic of a backward pass over its forward."""
QUANTISE_BYTES = 4.0
"""Traffic of casting one value: 2 read, 1 written, 1 written transposed."""

EAGER_NORM_VALUES = 10.0
"""Values per hidden element that one extra unit of `eager_norm_factor` moves in a layer's forward
and backward together."""
HOST_FORWARD_SHARE = 1.0 / 3.0
"""Share of a mixture layer's launches in its forward pass."""


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


def linears_s(setting: Setting, linears: Iterable[Linear]) -> tuple[FloatArray, FloatArray]:
    """Forward and backward time of linear maps over the tokens of one microbatch.

    The backward has two multiplications: gradients of the input and of the weights. The latter
    are added to those of earlier microbatches, which are read and written.
    """
    tp, tokens = setting.table.tp, setting.tokens
    added_bytes = 2.0 * gradient_bytes(setting.job)
    forward_s, backward_s = np.zeros(len(tp)), np.zeros(len(tp))
    for linear in linears:
        n_in = linear.n_in / (tp if linear.split == "in" else np.ones(len(tp)))
        n_out = linear.n_out / (tp if linear.split == "out" else np.ones(len(tp)))
        forward_s += setting.kernels.gemm_s(tokens, n_out, n_in)
        backward_s += setting.kernels.gemm_s(tokens, n_in, n_out)
        weight_s = setting.kernels.gemm_s(n_in, n_out, tokens)
        if setting.kernels.work is None:
            weight_s = np.maximum(weight_s, setting.kernels.memory_s(added_bytes * n_in * n_out))
        backward_s += weight_s
    return forward_s, backward_s


def eager_norm_bytes(setting: Setting) -> FloatArray:
    """Traffic of both norms of a layer's forward beyond that of fused ones."""
    width = setting.model.hidden_size / setting.sequence_share
    moved = setting.software.eager_norm_factor * EAGER_NORM_VALUES * width * setting.tokens
    eager = setting.model.norm == "rmsnorm"
    traffic: FloatArray = moved * setting.kernels.value_bytes * eager / (1 + BACKWARD_TRAFFIC)
    return traffic
