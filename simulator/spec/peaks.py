"""Matrix-multiply peaks of a device by number format."""

from __future__ import annotations

from simulator.spec.base import Precision, Spec
from simulator.spec.units import FlopsPerSecond


class PeakRates(Spec):
    """Dense matrix-multiply peaks of one device; 0 means not supported."""

    fp32_flops_per_s: FlopsPerSecond = 0.0
    bf16_flops_per_s: FlopsPerSecond
    fp16_flops_per_s: FlopsPerSecond = 0.0
    fp8_flops_per_s: FlopsPerSecond = 0.0
    fp4_flops_per_s: FlopsPerSecond = 0.0
    int8_flops_per_s: FlopsPerSecond = 0.0

    def of(self, precision: Precision) -> float:
        """Return the peak for a precision, in FLOP/s; 0 when the device has none."""
        return {
            Precision.FP32: self.fp32_flops_per_s,
            Precision.BF16: self.bf16_flops_per_s,
            Precision.FP16: self.fp16_flops_per_s or self.bf16_flops_per_s,
            Precision.FP8: self.fp8_flops_per_s,
            Precision.MXFP8: self.fp8_flops_per_s,
            Precision.NVFP4: self.fp4_flops_per_s,
            Precision.INT8: self.int8_flops_per_s,
        }[precision]
