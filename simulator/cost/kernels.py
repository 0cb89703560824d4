"""How long one device needs for a kernel: multiplications, attention, memory traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np

from simulator.cost.host import busy_ranks, slowdown
from simulator.cost.measured_kernels import Lookups, MeasuredKernels, Shape, measured_points
from simulator.cost.measured_work import MeasuredWork, measured_work
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec, KernelEfficiency
from simulator.spec.job import JobSpec
from simulator.spec.kernel_table import KernelKind
from simulator.spec.profiles import SoftwareProfile

HEAD_DIM_HALF = 17.0
"""Head width at which fused attention reaches half of what wide heads reach."""
REFERENCE_HEAD_DIM = 128.0
FULL_PRECISIONS = (Precision.FP32, Precision.BF16, Precision.FP16)
"""Formats in which everything is computed; the narrower ones are for layer matrices only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """What a device delivers with one software generation, for the plans of a table."""

    gemm_flops_per_s: float
    """Large multiplications in the job's number format."""
    wide_gemm_flops_per_s: float
    """Large multiplications of what a low-precision job leaves in 16 bit."""
    wave_length: float
    saturation_length: float
    group_rows: float
    attention_flops_per_s: float
    attention_backward_ratio: float
    memory_bytes_per_s: float
    launch_s: float
    gap_s: float
    value_bytes: float
    """One activation in memory."""
    quantised: bool
    """Whether the layers' multiplications read values narrower than the stored ones."""
    precision: Precision
    wide_precision: Precision
    slowdown: FloatArray
    """How much slower a rank is because others use the same host (1 where nothing is shared)."""
    busy: FloatArray
    """Ranks that compute at the same time on one host."""
    measured: Mapping[tuple[KernelKind, Precision], MeasuredKernels]
    lookups: Lookups | None
    """Where kernel shapes are noted, if they are."""
    work: MeasuredWork | None

    def gemm_s(
        self, m: FloatArray, n: FloatArray, k: FloatArray, *, wide: bool = False
    ) -> FloatArray:
        """Time of one (m x k) by (k x n) multiplication.

        `wide` keeps it in 16 bit or more where the job's format is narrower.
        """
        return self._time_s("gemm", (m, n, k), wide=wide)

    def grouped_gemm_s(
        self, groups: FloatArray, rows: FloatArray, n: FloatArray | float, k: FloatArray | float
    ) -> FloatArray:
        """Time of one multiplication per group, with `rows` rows each, in one kernel.

        Starting a group takes as long in a narrow format, in which its rows go faster.
        """
        return self._time_s("grouped-gemm", (groups, rows, n, k))

    def attention_s(
        self,
        heads: FloatArray,
        queries: FloatArray,
        keys: float,
        query_width: float,
        value_width: float,
    ) -> tuple[FloatArray, FloatArray]:
        """Forward and backward time of a fused attention.

        `heads` counts those of all sequences, `queries` are per sequence, and `keys` are those
        that a query looks at on average.
        """
        shape = (heads, queries, keys, query_width, value_width)
        forward_s = self._time_s("attention", shape, wide=True)
        if ("attention-backward", self.wide_precision) in self.measured:
            return forward_s, self._time_s("attention-backward", shape, wide=True)
        return forward_s, self.attention_backward_ratio * forward_s

    def _time_s(self, kind: KernelKind, shape: Shape, *, wide: bool = False) -> FloatArray:
        """Modelled time, corrected by what was measured near the shape; a launch at least."""
        precision = self.wide_precision if wide else self.precision
        table = self.measured.get((kind, precision))
        if self.lookups is not None:
            self.lookups.add(kind, shape, precision, table)
        modelled_s = self.modelled_s(kind, shape, wide=wide)
        if table is None:
            modelled_s = modelled_s * self.slowdown
        else:
            modelled_s = modelled_s * table.factor(shape, self.busy)
        return np.maximum(modelled_s, self.launch_s) + self.gap_s

    def modelled_s(self, kind: KernelKind, shape: Shape, *, wide: bool) -> FloatArray:
        """Time of a kernel that nothing was measured of, on a device of its own.

        The rate of a multiplication falls where the tiles of the result do not fill the device
        many times over, and where the pipeline of each tile is short. Memory traffic is a lower
        bound.
        """
        large = self.wide_gemm_flops_per_s if wide else self.gemm_flops_per_s
        if kind == "gemm":
            m, n, k = shape
            compute_s = 2.0 * m * n * k / (large * self._filled(m * n) * self._saturated(k))
            return np.maximum(compute_s, self._traffic_s(m * n + n * k + m * k))
        if kind == "grouped-gemm":
            groups, rows, n, k = shape
            ramp = self.group_rows * large / self.wide_gemm_flops_per_s
            saturation = rows / (rows + ramp) * self._saturated(k)
            compute_s = 2.0 * groups * rows * n * k / (saturation * large)
            return np.maximum(compute_s, self._traffic_s(groups * (rows * (n + k) + n * k)))
        heads, queries, keys, query_width, value_width = shape
        width = query_width / (query_width + HEAD_DIM_HALF)
        reference = REFERENCE_HEAD_DIM / (REFERENCE_HEAD_DIM + HEAD_DIM_HALF)
        flops = 2.0 * heads * queries * keys * (query_width + value_width)
        forward_s = np.asarray(flops / (self.attention_flops_per_s * width / reference))
        backward = kind == "attention-backward"
        return self.attention_backward_ratio * forward_s if backward else forward_s

    def _filled(self, area: FloatArray | float) -> FloatArray | float:
        """Share of the rate that a result of so many elements reaches: waves of tiles."""
        return area / (area + self.wave_length**2)

    def _saturated(self, inner: FloatArray | float) -> FloatArray | float:
        """Share of the rate that an inner dimension reaches: the pipeline of one tile."""
        return inner / (inner + self.saturation_length)

    def _traffic_s(self, n_values: FloatArray | float) -> FloatArray | float:
        return self.value_bytes * n_values / self.memory_bytes_per_s

    def batched_gemm_s(self, flops: FloatArray, length: float) -> FloatArray:
        """Time of many multiplications with a narrow inner dimension, (length x length) each."""
        rate = self.wide_gemm_flops_per_s * self._filled(length**2)
        compute_s = flops / rate * self.slowdown
        return np.maximum(compute_s, self.launch_s) + self.gap_s

    def memory_s(self, traffic_bytes: FloatArray) -> FloatArray:
        """Time to move bytes between memory and the compute units."""
        return traffic_bytes / self.memory_bytes_per_s * self.slowdown

    def elementwise_s(self, traffic_bytes: FloatArray, n_kernels: float) -> FloatArray:
        """Time of memory-bound kernels that move `traffic_bytes` together."""
        floor_s = n_kernels * self.launch_s
        return np.maximum(self.memory_s(traffic_bytes), floor_s) + n_kernels * self.gap_s


def device_kernels(
    cluster: ClusterSpec,
    job: JobSpec,
    software: SoftwareProfile,
    table: PlanTable,
    lookups: Lookups | None = None,
) -> Kernels:
    """Return what the cluster's device delivers in the job's number format."""
    device, efficiency = cluster.device, cluster.device.efficiency
    calibration = cluster.calibration
    wide = job.precision if job.precision in FULL_PRECISIONS else Precision.BF16
    busy = busy_ranks(cluster, table)
    slow = np.ones(len(table))
    memory_rate = device.memory_bandwidth_bytes_per_s * efficiency.memory_fraction
    if calibration is not None:
        slow = slowdown(calibration.shared_slowdown, busy)
        if calibration.memory_bandwidth_bytes_per_s:
            memory_rate = calibration.memory_bandwidth_bytes_per_s
    peak = device.peak.of(wide) * cluster.clock_share
    launch_s = efficiency.launch_latency_s if software.launch_s is None else software.launch_s
    wide_rate = peak * efficiency.gemm_fraction * software.gemm_factor
    modelled = Kernels(
        gemm_flops_per_s=wide_rate * _low_precision_gain(cluster, job.precision, wide, software),
        wide_gemm_flops_per_s=wide_rate,
        wave_length=efficiency.gemm_wave_length,
        saturation_length=efficiency.gemm_saturation_length,
        group_rows=efficiency.group_rows,
        attention_flops_per_s=peak * _attention_fraction(efficiency, software),
        attention_backward_ratio=efficiency.attention_backward_ratio,
        memory_bytes_per_s=memory_rate,
        launch_s=launch_s,
        gap_s=software.kernel_gap_s,
        value_bytes=4.0 if wide is Precision.FP32 else 2.0,
        quantised=job.precision is not wide,
        precision=job.precision,
        wide_precision=wide,
        slowdown=slow,
        busy=busy,
        measured={},
        lookups=lookups,
        work=measured_work(calibration, busy),
    )
    return replace(modelled, measured=_compared(cluster, modelled))


def _compared(
    cluster: ClusterSpec, modelled: Kernels
) -> dict[tuple[KernelKind, Precision], MeasuredKernels]:
    """Return the measured kernels in the formats of the job, against the model."""
    steps = cluster.calibration.shared_slowdown if cluster.calibration is not None else ()
    compared: dict[tuple[KernelKind, Precision], MeasuredKernels] = {}
    for precision in {modelled.precision, modelled.wide_precision}:
        wide = precision is modelled.wide_precision
        for kind in get_args(KernelKind):
            points = measured_points(cluster, kind, precision)
            if points:
                compared[kind, precision] = MeasuredKernels.of(
                    points, partial(modelled.modelled_s, kind, wide=wide), steps
                )
    return compared


def _attention_fraction(efficiency: KernelEfficiency, software: SoftwareProfile) -> float:
    """Share of the peak that the software's generation of fused attention reaches."""
    best = efficiency.attention_fraction
    earlier = {
        "best": best,
        "flash-2": efficiency.flash2_fraction or best,
        "flash-1": efficiency.flash1_fraction or best * 2.0 / 3.0,
    }
    return earlier[software.attention_kernel]


def _low_precision_gain(
    cluster: ClusterSpec, precision: Precision, wide: Precision, software: SoftwareProfile
) -> float:
    """Speed of the narrow format over the wide one, as far as kernels reach it."""
    if precision is wide:
        return 1.0
    peak, efficiency = cluster.device.peak, cluster.device.efficiency
    whole = Precision.INT8 if precision is Precision.INT8 else Precision.FP8
    if not peak.of(whole):
        return 1.0
    gain = peak.of(whole) / peak.of(wide)
    gain *= efficiency.fp8_fraction * software.low_precision_factor
    if precision is Precision.MXFP8:
        gain *= efficiency.mx_fraction
    if precision is Precision.NVFP4 and peak.of(Precision.NVFP4):
        fourfold = peak.of(Precision.NVFP4) / peak.of(Precision.FP8) * efficiency.fp4_fraction
        gain *= max(1.0, fourfold * software.fp4_factor)
    return gain
