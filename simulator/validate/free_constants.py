"""The constants that published runs may move, each with what is expected without them.

Priors come from data sheets, measured matrix multiplications (0.87 of the best one for large
shapes), kernels' own publications and the arithmetic of fused and eager layers; the width is how
far, on a logarithmic scale, one would believe otherwise. Nothing belongs to a row, model or paper,
except what a cluster of its own has: one fabric.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["device", "scale-up", "fabric", "software"]
Scale = Literal["log", "logit"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number, shared by some entries of the catalog."""

    kind: Kind
    names: tuple[str, ...]
    field: str
    prior: float
    width: float
    scale: Scale = "log"

    @property
    def label(self) -> str:
        """Return where it is kept: `h100-sxm-80gb gemm_fraction`."""
        return f"{self.names[0]} {self.field}"


A100 = ("a100-sxm-80gb", "a100-sxm-40gb", "a800-sxm-80gb")
H100 = ("h100-sxm-80gb", "h200-sxm-141gb", "h800-sxm-80gb")
H100_500W = ("h100-96gb-hbm2e-500w",)
B200, GB200 = ("b200-sxm-180gb", "b300-sxm-288gb"), ("gb200-nvl72", "gb300-nvl72")
LIMITED = ("b200-sxm-180gb-power-limited",)
BLACKWELL = B200 + GB200 + LIMITED
FP4 = (*B200[:1], *GB200[:1], *LIMITED)
TPU = ("tpu-v4", "tpu-v5e", "tpu-v5p")
OTHERS = A100 + H100 + H100_500W + TPU

MEGATRON_2021 = ("megatron-2021", "megatron-deepspeed")
BRIDGE_EARLY = ("megatron-bridge-25.09", "megatron-bridge-25.11", "megatron-bridge-26.02.01")
BRIDGE = (*BRIDGE_EARLY, "megatron-bridge-26.06")
CORE = ("megatron-core-2024", "megatron-core-split-experts")
NVIDIA = CORE + BRIDGE
PLAIN = ("megatron-plain", "megatron-plain-b200")
ROWWISE = ("torchtitan-rowwise", "torchtitan-async-tp-rowwise")
ASYNC = ("torchtitan-async-tp", "torchtitan-async-tp-rowwise")
COMPILED = ("torchtitan", "torchtitan-async-tp", *ROWWISE)
FSDP = ("llm-foundry", "fsdp-eager")
FSDP_ALL = (*FSDP, *COMPILED, "torchtitan-eager")
JAX = ("maxtext", "maxtext-gpu")
EAGER = (
    "llama-eager",
    "llama-eager-flash1",
    "llama-eager-softmax",
    "llama-eager-torch",
    "llama-eager-rms",
)
EAGER_ALL = (*EAGER, "internevo", *FSDP, "torchtitan-eager")


def _devices() -> Iterator[Parameter]:
    def device(names: tuple[str, ...], field: str, prior: float, width: float) -> Parameter:
        return Parameter("device", names, field, prior, width)

    yield device(A100, "gemm_fraction", 0.80, 0.08)
    yield device(H100, "gemm_fraction", 0.70, 0.06)
    yield device(H100_500W, "gemm_fraction", 0.60, 0.15)
    yield device(B200, "gemm_fraction", 0.675, 0.08)
    yield device(GB200, "gemm_fraction", 0.63, 0.10)
    yield device(LIMITED, "gemm_fraction", 0.30, 0.40)
    yield device(TPU[:1], "gemm_fraction", 0.80, 0.10)
    yield device(TPU[1:2], "gemm_fraction", 0.90, 0.10)
    yield device(TPU[2:], "gemm_fraction", 0.80, 0.10)
    yield device(OTHERS, "gemm_wave_length", 900.0, 0.35)
    yield device(OTHERS, "gemm_saturation_length", 250.0, 0.35)
    yield device(BLACKWELL, "gemm_wave_length", 1300.0, 0.35)
    yield device(BLACKWELL, "gemm_saturation_length", 350.0, 0.35)
    yield device(H100 + H100_500W, "fp8_fraction", 0.84, 0.08)
    yield device(B200 + LIMITED, "fp8_fraction", 0.75, 0.10)
    yield device(GB200, "fp8_fraction", 0.75, 0.10)
    yield device(BLACKWELL, "mx_fraction", 0.95, 0.05)
    yield device(FP4, "fp4_fraction", 0.75, 0.20)
    yield device(H100, "group_rows", 280.0, 0.5)
    yield device(BLACKWELL, "group_rows", 280.0, 0.5)
    yield device(A100, "flash2_fraction", 0.55, 0.08)
    yield device(A100, "flash1_fraction", 0.37, 0.10)
    yield device(H100, "attention_fraction", 0.52, 0.10)
    yield device(H100, "flash1_fraction", 0.19, 0.20)
    yield device(H100_500W, "flash2_fraction", 0.30, 0.15)
    yield device(BLACKWELL, "attention_fraction", 0.43, 0.15)
    yield device(TPU, "attention_fraction", 0.35, 0.15)
    for names, width in ((A100, 0.3), (H100[:1] + H100_500W, 0.3), (BLACKWELL, 0.4)):
        yield Parameter("scale-up", names, "efficiency", 0.72, width, "logit")
    yield Parameter("scale-up", TPU, "efficiency", 0.70, 0.6, "logit")


def _fabrics() -> Iterator[Parameter]:
    yield Parameter("fabric", ("rail-optimized-200g",), "efficiency", 0.6, 0.4, "logit")
    yield Parameter("fabric", ("rail-optimized-400g", "nvl72"), "efficiency", 0.6, 0.4, "logit")
    yield Parameter("fabric", ("ici-torus",), "efficiency", 0.6, 0.7, "logit")
    yield Parameter("fabric", ("hagemann-a100",), "efficiency", 0.6, 1.5, "logit")
    yield Parameter("fabric", ("hagemann-a100",), "latency_s", 14e-6, 0.7)


def _software() -> Iterator[Parameter]:
    def software(names: tuple[str, ...], field: str, prior: float, width: float) -> Parameter:
        return Parameter("software", names, field, prior, width)

    def share(names: tuple[str, ...], field: str, prior: float) -> Parameter:
        return Parameter("software", names, field, prior, 0.8, "logit")

    for names, prior in (
        (MEGATRON_2021, 1.0),
        ((*NVIDIA, *PLAIN), 0.9),
        (COMPILED, 1.0),
        (JAX, 1.0),
        (FSDP, 1.8),
        (("internevo",), 1.8),
        (("torchtitan-eager",), 2.0),
        (EAGER, 2.3),
    ):
        yield software(names, "elementwise_factor", prior, 0.2)
    yield software(EAGER[:-1], "eager_norm_factor", 5.0, 0.4)
    yield software(MEGATRON_2021, "unfused_score_bytes", 8.0, 0.3)
    yield software(EAGER[2:3], "unfused_score_bytes", 8.0, 0.3)
    yield software(EAGER[3:4], "unfused_score_bytes", 24.0, 0.3)
    yield share(NVIDIA, "overlap.tp", 0.8)
    yield share(ASYNC, "overlap.tp", 0.5)
    yield share(JAX, "overlap.tp", 0.5)
    yield share(NVIDIA, "overlap.dp", 0.85)
    yield share(("internevo",), "overlap.dp", 0.85)
    yield share(FSDP_ALL, "overlap.dp", 0.95)
    yield share(JAX, "overlap.dp", 0.9)
    yield share(NVIDIA, "overlap.pp", 0.9)
    yield share((*CORE, *BRIDGE_EARLY), "overlap.ep", 0.2)
    yield share(("megatron-bridge-26.06",), "overlap.ep", 0.4)
    yield share(FSDP_ALL, "dp_contention", 0.1)
    yield share(NVIDIA + JAX, "dp_contention", 0.05)
    yield software(EAGER_ALL, "kernel_gap_s", 4e-6, 0.7)
    for waiting, growth in (
        (MEGATRON_2021, 0.010),
        ((*EAGER, "internevo"), 0.010),
        (NVIDIA, 0.0055),
        (FSDP_ALL, 0.0055),
        (JAX, 0.006),
    ):
        yield software(waiting, "growth_per_doubling", growth, 0.5)
    yield software((*CORE, "megatron-bridge-25.11"), "moe_launch_s", 8.7e-3, 0.3)
    yield software(("megatron-bridge-25.09",), "moe_launch_s", 5e-3, 0.4)
    yield software(("megatron-bridge-26.02.01",), "moe_launch_s", 5.5e-3, 0.3)
    yield software(NVIDIA, "unfused_score_bytes", 8.0, 0.5)
    yield software((*CORE, *BRIDGE_EARLY), "permute_factor", 3.0, 0.3)
    yield software(("megatron-bridge-26.06",), "permute_factor", 2.0, 0.4)
    yield software(BRIDGE, "gemm_factor", 1.05, 0.025)
    yield software(PLAIN[1:], "gemm_factor", 0.9, 0.15)
    yield software(ROWWISE, "low_precision_factor", 0.55, 0.2)
    yield software(COMPILED, "fp4_factor", 0.7, 0.2)
    yield software(("maxtext-gpu",), "selective_matmul_share", 0.5, 0.2)


PARAMETERS: tuple[Parameter, ...] = (*_devices(), *_fabrics(), *_software())
"""What `scripts/fit.py` fits; the result stands in the catalog."""
