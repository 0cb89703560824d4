"""How long one device needs for a kernel: multiplications, attention, memory traffic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.host import busy_ranks, slowdown
from simulator.cost.measured_gemms import MeasuredGemms
from simulator.cost.measured_work import MeasuredWork, measured_work
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec, KernelEfficiency
from simulator.spec.job import JobSpec
from simulator.spec.profiles import SoftwareProfile

HEAD_DIM_HALF = 17.0
"""Head width at which fused attention reaches half of what wide heads reach."""
REFERENCE_HEAD_DIM = 128.0
GROUP_ROWS_HALF = 280.0
"""Rows per group at which grouped multiplications (experts) reach half of their rate."""
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
    attention_flops_per_s: float
    attention_backward_ratio: float
    memory_bytes_per_s: float
    launch_s: float
    gap_s: float
    value_bytes: float
    """One activation in memory."""
    quantised: bool
    """Whether the layers' multiplications read values narrower than the stored ones."""
    slowdown: FloatArray
    """How much slower a rank is because others use the same host (1 where nothing is shared)."""
    busy: FloatArray
    """Ranks that compute at the same time on one host."""
    measured: MeasuredGemms | None
    work: MeasuredWork | None

    def gemm_s(
        self, m: FloatArray, n: FloatArray, k: FloatArray, *, wide: bool = False
    ) -> FloatArray:
        """Time of one (m x k) by (k x n) multiplication.

        `wide` keeps it in 16 bit or more where the job's format is narrower.

        The rate falls where the tiles of the result do not fill the device many times over, and
        where the pipeline of each tile is short. Memory traffic and the launch are lower bounds.
        """
        if self.measured is not None:
            compute_s = 2.0 * m * n * k / self.measured.rate(m, n, k, self.busy)
        else:
            large = self.wide_gemm_flops_per_s if wide else self.gemm_flops_per_s
            compute_s = 2.0 * m * n * k / (large * self._filled(m * n) * self._saturated(k))
        traffic_s = self.memory_s(self.value_bytes * (m * n + n * k + m * k))
        return np.maximum(np.maximum(compute_s, traffic_s), self.launch_s) + self.gap_s

    def _filled(self, area: FloatArray | float) -> FloatArray | float:
        """Share of the rate that a result of so many elements reaches: waves of tiles."""
        return area / (area + self.wave_length**2)

    def _saturated(self, inner: FloatArray | float) -> FloatArray | float:
        """Share of the rate that an inner dimension reaches: the pipeline of one tile."""
        return inner / (inner + self.saturation_length)

    def grouped_gemm_s(
        self, groups: FloatArray, rows: FloatArray, n: FloatArray | float, k: FloatArray | float
    ) -> FloatArray:
        """Time of one multiplication per group, with `rows` rows each, in one kernel."""
        saturation = rows / (rows + GROUP_ROWS_HALF) * self._saturated(k)
        compute_s = 2.0 * groups * rows * n * k / (saturation * self.gemm_flops_per_s)
        traffic_s = self.memory_s(self.value_bytes * groups * (rows * (n + k) + n * k))
        slowest_s = np.maximum(compute_s * self.slowdown, traffic_s)
        return np.maximum(slowest_s, self.launch_s) + self.gap_s

    def batched_gemm_s(self, flops: FloatArray, length: float) -> FloatArray:
        """Time of many multiplications with a narrow inner dimension, (length x length) each."""
        rate = self.wide_gemm_flops_per_s * self._filled(length**2)
        compute_s = flops / rate * self.slowdown
        return np.maximum(compute_s, self.launch_s) + self.gap_s

    def attention_s(self, flops: FloatArray, head_dim: float) -> FloatArray:
        """Time of a fused attention forward that computes `flops`."""
        width = head_dim / (head_dim + HEAD_DIM_HALF)
        reference = REFERENCE_HEAD_DIM / (REFERENCE_HEAD_DIM + HEAD_DIM_HALF)
        rate = self.attention_flops_per_s * width / reference
        return np.maximum(flops / rate * self.slowdown, self.launch_s) + self.gap_s

    def memory_s(self, traffic_bytes: FloatArray) -> FloatArray:
        """Time to move bytes between memory and the compute units."""
        return traffic_bytes / self.memory_bytes_per_s * self.slowdown

    def elementwise_s(self, traffic_bytes: FloatArray, n_kernels: float) -> FloatArray:
        """Time of memory-bound kernels that move `traffic_bytes` together."""
        floor_s = n_kernels * self.launch_s
        return np.maximum(self.memory_s(traffic_bytes), floor_s) + n_kernels * self.gap_s


def device_kernels(
    cluster: ClusterSpec, job: JobSpec, software: SoftwareProfile, table: PlanTable
) -> Kernels:
    """Return what the cluster's device delivers in the job's number format."""
    device, efficiency = cluster.device, cluster.device.efficiency
    calibration = cluster.calibration
    wide = job.precision if job.precision in FULL_PRECISIONS else Precision.BF16
    busy = busy_ranks(cluster, table)
    slow = np.ones(len(table))
    memory_rate = device.memory_bandwidth_bytes_per_s * efficiency.memory_fraction
    peak = device.peak.of(wide)
    measured = None
    if calibration is not None:
        slow = slowdown(calibration.shared_slowdown, busy)
        if calibration.memory_bandwidth_bytes_per_s:
            memory_rate = calibration.memory_bandwidth_bytes_per_s
        if calibration.gemms:
            measured = MeasuredGemms.of(calibration, job.precision)
            peak = measured.best_rate_alone / efficiency.gemm_fraction
    wide_rate = peak * efficiency.gemm_fraction * software.gemm_factor
    return Kernels(
        gemm_flops_per_s=wide_rate * _low_precision_gain(cluster, job.precision, wide, software),
        wide_gemm_flops_per_s=wide_rate,
        wave_length=efficiency.gemm_wave_length,
        saturation_length=efficiency.gemm_saturation_length,
        attention_flops_per_s=peak * _attention_fraction(efficiency, software),
        attention_backward_ratio=efficiency.attention_backward_ratio,
        memory_bytes_per_s=memory_rate,
        launch_s=efficiency.launch_latency_s,
        gap_s=software.kernel_gap_s,
        value_bytes=4.0 if wide is Precision.FP32 else 2.0,
        quantised=job.precision is not wide,
        slowdown=slow,
        busy=busy,
        measured=measured,
        work=measured_work(calibration, busy),
    )


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
    wide_peak, fp8_peak = peak.of(wide), peak.of(Precision.FP8)
    if not fp8_peak:
        return 1.0
    gain = fp8_peak / wide_peak * efficiency.fp8_fraction * software.low_precision_factor
    if precision is Precision.NVFP4 and peak.of(Precision.NVFP4):
        gain *= max(1.0, peak.of(Precision.NVFP4) / fp8_peak * efficiency.fp4_fraction)
    return gain
