"""Named profiles of the catalog: software generations, failures, prices, grids."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import Basis, Fraction, Name, NonNegative, Positive, Source, Spec
from simulator.spec.reliability import FailureCause
from simulator.spec.units import Bytes, BytesPerSecond, Count, Seconds


class OverlapProfile(Spec):
    """Share of communication that the software hides behind compute where there is enough of it."""

    tp: Fraction = 0.0
    cp: Fraction = 0.9
    ep: Fraction = 0.0
    dp: Fraction = 0.5
    dp_gather: Fraction | None = None
    """Of weights gathered once a step, after the update (ZeRO 1 and 2), where it is not `dp`."""
    pp: Fraction = 0.0
    """Of point-to-point transfers between interleaved pipeline stages; others wait for theirs."""


class MemoryProfile(Spec):
    """What the software holds in memory beside, or instead of, what the mathematics needs."""

    logits_bytes: NonNegative = 12.0
    """Per logit while the loss is differentiated: 16-bit and fp32 copies, and their gradients."""
    gathers_logits: bool = False
    """Whether every tensor-parallel rank holds the logits of the whole vocabulary."""
    norm_copies: NonNegative = 0.0
    """fp32 copies of the hidden state that each norm keeps."""
    ffn_copies: NonNegative = 0.0
    """Values of inner feed-forward width kept beyond those of fused kernels."""
    keeps_gathered_inputs: bool = False
    """Whether what sequence parallelism gathers for a matrix is kept for the backward pass."""
    shards_fp32_weights: bool = False
    """Whether fp32 weights are divided from ZeRO 1 on and gathered as copies (torch FSDP), so that
    16-bit training has no further master copy."""
    fused_gradients: bool = False
    """Whether gradients of matrices are added to the kept ones inside the multiplication."""
    update_bytes: NonNegative = 0.0
    """Temporaries of the optimizer per parameter that the rank updates."""
    workspace_bytes: Bytes = Field(default=0.25 * 2**30, ge=0)
    """Tensors of fixed size: workspaces of the matrix library, position tables, masks."""
    fragmentation: Fraction = 0.03
    """What the allocator reserves and no tensor uses, as a share of all tensors."""
    gathered_holes: NonNegative = 0.0
    """Holes in the heap over what comes and goes layer by layer: gradients before they are divided
    (from ZeRO 1 on), and weights gathered for a forward and for a backward (ZeRO 3)."""
    ddp_buckets: bool = False
    """Whether DDP's buckets lie beside the gradients that add up over microbatches."""
    nccl_buffers: bool = True
    """Whether every group of ranks holds NCCL's buffers; else they are in `framework_bytes`."""
    framework_bytes: Bytes = Field(default=0.75 * 2**30, ge=0)
    """Outside of the allocator: device context and libraries. 0.3 GB where kernels are loaded when
    they are needed (from CUDA 11.7), over 1 GB before (pytorch/pytorch#107667)."""
    interval_factor: float = Field(default=1.3, ge=1)
    """Half-width of the 90 % interval of a predicted peak; the default is for software of which no
    peak was ever compared."""


class SoftwareProfile(Spec):
    """One software generation: kernel set, overlap, and what it holds in memory."""

    name: Name
    description: str
    overlap: OverlapProfile = OverlapProfile()
    elementwise_factor: Positive = 1.0
    """Elementwise memory traffic over the ideal of fused kernels."""
    eager_norm_factor: NonNegative = 0.0
    """Extra passes over the hidden state of an unfused fp32 RMSNorm, per norm."""
    recompute_fraction: Fraction = 0.88
    """Cost of recomputing a whole layer over its forward."""
    stops_recompute_early: bool = False
    """Whether a backward pass stops repeating at what it needs, before the last sums over
    tensor-parallel ranks."""
    selective_matmul_share: Fraction = 0.5
    """Share of the multiplications that selective recompute repeats."""
    logits_traffic_bytes: NonNegative = 20.0
    """Memory traffic of head and loss per logit."""
    gemm_factor: Positive = 1.0
    """On the device's matrix-multiply efficiency."""
    low_precision_factor: Positive = 1.0
    """On the gain of formats below 16 bit: the scaling recipe."""
    fp4_factor: Positive = 1.0
    """On the gain of 4-bit formats over 8 bit."""
    attention_kernel: Literal["best", "flash-1", "flash-2"] = "best"
    """Generation of the fused attention kernel."""
    unfused_score_bytes: NonNegative = 8.0
    """Memory traffic per score and forward pass where attention is not fused, in 16 bit."""
    permute_factor: NonNegative = 3.0
    """Memory traffic of permuting tokens to experts and back over reading and writing each once."""
    splits_experts: bool = False
    """Whether tensor parallelism divides experts where expert parallelism leaves room for it."""
    gathers_narrow: bool = False
    """Whether what tensor parallelism gathers is cast to a narrow format first (fp8, 8 bit)."""
    scatters_transfers: bool = True
    """Whether tensor-parallel ranks send a part each to the next stage."""
    moe_launch_s: Seconds = Field(default=0.0, ge=0)
    """Least time of a mixture layer, forward and backward: the host that launches its kernels."""
    launch_s: Seconds | None = Field(default=None, ge=0)
    """Least time of one kernel: the host issues no faster; unset means the device's."""
    kernel_gap_s: Seconds = Field(default=0.0, ge=0)
    """Idle time between two kernels (0 with CUDA graphs)."""
    bucket_bytes: Bytes = Field(default=0.0, ge=0)
    """Largest message of gradients or weights; 0 means those of a layer travel together."""
    dp_contention: Fraction = 0.0
    """Share of hidden data-parallel traffic by which it slows the compute it hides behind."""
    step_constant_s: Seconds = Field(default=0.010, ge=0)
    growth_per_doubling: NonNegative = 0.0055
    """Growth of the step per doubling of the ranks that share gradients: all wait for the slowest
    one, by jitter, stragglers and fabric."""
    interval_factor: float = Field(default=1.0, ge=1)
    """What not knowing the software adds to the 90 % interval of a step time, as a factor."""
    memory: MemoryProfile = MemoryProfile()
    sources: tuple[Source, ...] = ()


ONE_DRIVE_BYTES_PER_S = 2e9
"""Assumed: what one NVMe drive of a server takes for long."""


class FailureProfile(Spec):
    """How often things break on one kind of cluster, and what a restart costs there."""

    name: Name
    failures_per_device_day: NonNegative
    """Job-stopping failures of all causes."""
    causes: tuple[FailureCause, ...] = ()
    """What they are, where the source says so; the rates add up to the one above."""
    restart_s: Seconds = Field(ge=0)
    """Detection to training again."""
    detection_s: Seconds = Field(default=0.0, ge=0)
    """Failure to detection."""
    checkpoint_write_bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    store_devices: Count | None = Field(default=None, ge=1)
    """Devices whose checkpoints that bandwidth was for; fewer have their share of it. Unset where
    nobody says it."""
    repair_s: Seconds = Field(default=2 * 86400.0, gt=0)
    """Mean time until a broken node is back."""
    repair_fraction: Fraction = 1.0
    """Share of the failures that take a node away where `causes` does not say."""
    sources: tuple[Source, ...] = ()

    def store_bytes_per_s(self, n_devices: int) -> float:
        """Return how fast the store of a cluster of that size takes checkpoints.

        Clusters buy storage by their size (122 MB/s a device at Meta's 16,384, 150 MB/s at Jean
        Zay's 384); none is slower than one drive or faster than what was seen.
        """
        seen = self.checkpoint_write_bandwidth_bytes_per_s
        if self.store_devices is None:
            return seen
        return min(seen, max(ONE_DRIVE_BYTES_PER_S, seen * n_devices / self.store_devices))

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(cause.failures_per_device_day for cause in self.causes)
        if self.causes and abs(total / self.failures_per_device_day - 1) > 1e-3:
            raise ValueError(
                f"the rates of the causes add up to {total:.6g}, not to "
                f"failures_per_device_day={self.failures_per_device_day:.6g}"
            )
        return self


class GridProfile(Spec):
    """Carbon intensity of an electricity grid."""

    name: Name
    kg_co2_per_kwh: NonNegative
    basis: Basis
    source: str
    date: str
