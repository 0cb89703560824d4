"""Kernels of one rank: multiplications, attention, memory traffic and the cost of a call."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch.nn import functional

from runtime.calibrate.findings import AttentionRate
from runtime.calibrate.timing import seconds_per_call
from simulator.spec.base import Precision
from simulator.spec.kernel_table import GemmPoint

DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}
N_ROUNDS = 3
GEMM_LIMIT_S = 0.06
"""A shape expected to take longer is left out: what it would tell, smaller ones have told."""


@dataclass(frozen=True, slots=True)
class GemmShape:
    """Tokens x outputs x inputs of a linear map."""

    m: int
    n: int
    k: int

    @property
    def flops(self) -> float:
        """Work of the forward product."""
        return 2.0 * self.m * self.n * self.k


QUICK_SHAPES = tuple(
    GemmShape(m, n, k)
    for m, n, k in (
        (128, 128, 128),
        (256, 512, 256),
        (1024, 256, 256),
        (512, 256, 1024),
        (1024, 1024, 512),
        (2048, 1024, 1024),
    )
)
FULL_SHAPES = QUICK_SHAPES + tuple(
    GemmShape(m, n, k)
    for m, n, k in (
        (32, 256, 256),
        (64, 1024, 256),
        (512, 128, 512),
        (512, 512, 128),
        (2048, 512, 512),
        (512, 2048, 512),
        (512, 512, 2048),
        (4096, 2048, 512),
        (256, 4096, 1024),
    )
)


def measure_gemms(
    shapes: tuple[GemmShape, ...], n_busy_ranks: int, *, window_s: float
) -> list[GemmPoint]:
    """Time a linear map's product and the two of its backward, per shape and number format.

    All shapes are measured in several rounds, so that a disturbance hits each of them only once,
    and the median round counts.
    """
    by_shape: dict[tuple[Precision, int, int, int], list[GemmPoint]] = defaultdict(list)
    for _ in range(N_ROUNDS):
        for point in _measure_round(shapes, n_busy_ranks, window_s / N_ROUNDS):
            by_shape[point.precision, point.m, point.n, point.k].append(point)
    return [
        points[0].model_copy(
            update={
                "time_s": statistics.median(point.time_s for point in points),
                "backward_s": statistics.median(point.backward_s for point in points),
            }
        )
        for points in by_shape.values()
    ]


def _measure_round(
    shapes: tuple[GemmShape, ...], n_busy_ranks: int, window_s: float
) -> list[GemmPoint]:
    points: list[GemmPoint] = []
    for precision in DTYPES:
        worst_s_per_flop = 0.0
        for shape in sorted(shapes, key=lambda shape: shape.flops):
            if shape.flops * worst_s_per_flop > GEMM_LIMIT_S:
                break
            point = _measure_gemm(shape, precision, n_busy_ranks, window_s)
            worst_s_per_flop = (point.time_s + point.backward_s) / shape.flops
            points.append(point)
    return points


def _measure_gemm(
    shape: GemmShape, precision: Precision, n_busy_ranks: int, window_s: float
) -> GemmPoint:
    dtype = DTYPES[precision]
    inputs = torch.randn(shape.m, shape.k).to(dtype)
    weight = torch.randn(shape.n, shape.k).to(dtype)
    gradient = torch.randn(shape.m, shape.n).to(dtype)
    forward_s = seconds_per_call(lambda: functional.linear(inputs, weight), window_s=window_s)
    to_inputs_s = seconds_per_call(lambda: gradient @ weight, window_s=window_s)
    to_weight_s = seconds_per_call(lambda: gradient.t() @ inputs, window_s=window_s)
    return GemmPoint(
        m=shape.m,
        n=shape.n,
        k=shape.k,
        precision=precision,
        n_busy_ranks=n_busy_ranks,
        time_s=forward_s,
        backward_s=to_inputs_s + to_weight_s,
    )


ATTENTION_HEAD_DIM = 64
ATTENTION_SHAPE = (2, 4, 256, ATTENTION_HEAD_DIM)
"""Sequences, heads, tokens, head width."""


def measure_attention(*, window_s: float) -> AttentionRate:
    """Time fused causal attention forward and backward in fp32."""
    n_sequences, n_heads, n_tokens, head_dim = ATTENTION_SHAPE
    query, key, value = (torch.randn(ATTENTION_SHAPE, requires_grad=True) for _ in range(3))
    gradient = torch.randn(ATTENTION_SHAPE)

    def forward() -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    forward_s = seconds_per_call(forward, window_s=window_s)

    def both() -> None:
        torch.autograd.backward(forward(), gradient)

    both_s = seconds_per_call(both, window_s=window_s)
    causal_flops = 2.0 * n_sequences * n_heads * n_tokens**2 * head_dim
    return AttentionRate(
        flops_per_s=causal_flops / forward_s,
        backward_ratio=max(both_s / forward_s - 1.0, 0.1),
    )


STREAM_VALUES = 2**21
"""8 MiB per array: activations of small models, larger than one core's own caches."""


def measure_memory_bandwidth(*, window_s: float) -> float:
    """Bytes per second that one rank moves in an elementwise sum (two reads, one write)."""
    left, right, out = (torch.ones(STREAM_VALUES) for _ in range(3))
    seconds = seconds_per_call(lambda: torch.add(left, right, out=out), window_s=window_s)
    return 3 * left.element_size() * STREAM_VALUES / seconds


def measure_launch(*, window_s: float) -> float:
    """Seconds of the smallest operation that autograd records."""
    left, right = torch.ones(8, requires_grad=True), torch.ones(8)
    return seconds_per_call(lambda: left * right, window_s=window_s)
