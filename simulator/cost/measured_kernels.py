"""Kernels as measured on the device: how much slower or faster than modelled, near a shape.

The factor over the model is interpolated, so a measured shape is reproduced, its neighbours follow
smoothly, and a far one keeps the model's dependence on the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from simulator.cost.host import slowdown
from simulator.cost.layers import keys_per_query
from simulator.cost.plan_table import BoolArray, FloatArray, IntArray
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec
from simulator.spec.kernel_table import AttentionPoint, GemmPoint, KernelKind, KernelLookups

SHARPNESS = 2.0
"""Exponent of the squared distance in the weight of a point."""
SAME = 1e-3
"""Distance between the logarithms of two shapes that count as one."""
_PRODUCT = ("m", "n", "k")
_ATTENTION = ("heads", "queries", "keys", "width", "value")
DIMENSIONS: dict[KernelKind, tuple[str, ...]] = {
    "gemm": _PRODUCT,
    "grouped-gemm": ("groups", *_PRODUCT),
    "attention": _ATTENTION,
    "attention-backward": _ATTENTION,
}
"""What the numbers of a shape are: heads of all sequences, mean keys that a query looks at."""

Shape = tuple[FloatArray | float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredKernels:
    """Points of one kind of kernel in one number format."""

    shapes: FloatArray
    """(points, dimensions): logarithms."""
    busy: IntArray
    factors: FloatArray
    """Measured over modelled time."""
    slowdown: tuple[float, ...]
    """Of compute with 1, 2, 3 ... ranks busy; empty means unknown."""

    @classmethod
    def of(
        cls,
        points: Sequence[GemmPoint | AttentionPoint],
        modelled_s: Callable[[Shape], FloatArray],
        steps: tuple[float, ...],
    ) -> Self:
        """Compare points with the model."""
        sizes = np.array([_shape(point) for point in points], dtype=np.float64)
        times_s = np.array([point.time_s for point in points])
        return cls(
            shapes=np.log(sizes),
            busy=np.array([_busy(point) for point in points], dtype=np.int64),
            factors=times_s / modelled_s(tuple(sizes.T)),
            slowdown=steps,
        )

    def factor(self, shape: Shape, busy: FloatArray) -> FloatArray:
        """Measured over modelled time near some shapes, with `busy` ranks on the host."""
        wanted = _logarithms(shape)
        asked = np.column_stack([np.broadcast_to(busy, wanted.shape[:1]), wanted])
        distinct, rows = np.unique(asked, axis=0, return_inverse=True)
        factors = np.empty(len(distinct))
        for level in np.unique(distinct[:, 0]):
            same = distinct[:, 0] == level
            factors[same] = self._interpolate(distinct[same, 1:], float(level))
        return factors[rows]

    def knows(self, shape: Shape) -> BoolArray:
        """Whether a shape was measured."""
        apart = np.abs(_logarithms(shape)[:, None, :] - self.shapes[None]).max(axis=-1)
        known: BoolArray = apart.min(axis=1) < SAME
        return known

    def _interpolate(self, wanted: FloatArray, busy: float) -> FloatArray:
        distance = np.abs(np.log(self.busy / busy))
        nearest = int(self.busy[np.argmin(distance)])
        chosen = self.busy == nearest
        squared = ((wanted[:, None, :] - self.shapes[chosen][None]) ** 2).sum(axis=-1)
        weights = (squared + 1e-6) ** -SHARPNESS
        logs = (weights * np.log(self.factors[chosen])).sum(axis=1) / weights.sum(axis=1)
        factors: FloatArray = np.exp(logs) * (self._slowdown(busy) / self._slowdown(nearest))
        return factors

    def _slowdown(self, busy: float) -> float:
        return float(slowdown(self.slowdown, np.array([busy]))[0])


def measured_points(
    cluster: ClusterSpec, kind: KernelKind, precision: Precision
) -> list[GemmPoint | AttentionPoint]:
    """Return what the user's table and the calibration hold of a kind, in a number format.

    Kernels in fp16 take the time of those in bf16.
    """
    gemms = cluster.calibration.gemms if cluster.calibration is not None else ()
    attentions: tuple[AttentionPoint, ...] = ()
    if cluster.kernels is not None:
        gemms, attentions = gemms + cluster.kernels.gemms, cluster.kernels.attentions
    every: tuple[GemmPoint | AttentionPoint, ...] = (*gemms, *attentions)
    same_kind = [point for point in every if _kind(point) == kind]
    found = [point for point in same_kind if point.precision is precision]
    if not found and precision is Precision.FP16:
        return [point for point in same_kind if point.precision is Precision.BF16]
    return found


def _kind(point: GemmPoint | AttentionPoint) -> KernelKind:
    if isinstance(point, GemmPoint):
        return "grouped-gemm" if point.groups else "gemm"
    return "attention-backward" if point.backward else "attention"


def _shape(point: GemmPoint | AttentionPoint) -> tuple[float, ...]:
    """Dimensions as `Kernels` asks for them."""
    if isinstance(point, GemmPoint):
        product = (point.m, point.n, point.k)
        return (point.groups, *product) if point.groups else product
    heads = point.sequences * point.heads
    keys = keys_per_query(point.length, 0, causal=point.causal)
    return (heads, point.length, keys, point.head_dim, point.value_dim)


def _busy(point: GemmPoint | AttentionPoint) -> int:
    return point.n_busy_ranks if isinstance(point, GemmPoint) else 1


def _logarithms(shape: Shape) -> FloatArray:
    logs: FloatArray = np.log(np.stack(np.broadcast_arrays(*map(np.atleast_1d, shape)), axis=-1))
    return logs


@dataclass(frozen=True, slots=True)
class Lookups:
    """Every kernel shape that was asked for, and whether it was measured."""

    seen: dict[str, bool] = field(default_factory=dict)

    def add(
        self,
        kind: KernelKind,
        shape: Shape,
        precision: Precision,
        table: MeasuredKernels | None,
    ) -> None:
        """Note some shapes."""
        sizes = np.exp(_logarithms(shape))
        known = table.knows(shape) if table is not None else np.zeros(len(sizes), dtype=bool)
        for row, measured in zip(sizes, known, strict=True):
            sized = zip(DIMENSIONS[kind], row, strict=True)
            text = " ".join(f"{name}={size:.7g}" for name, size in sized)
            self.seen[f"{precision} {kind} {text}"] = bool(measured)

    def of_table(self, name: str) -> KernelLookups:
        """Return the count, and the shapes that were missed."""
        return KernelLookups(
            table=name,
            n_shapes=len(self.seen),
            n_measured=sum(self.seen.values()),
            missed=tuple(shape for shape, measured in self.seen.items() if not measured),
        )
