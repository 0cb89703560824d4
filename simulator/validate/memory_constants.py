"""Memory constants that published runs determined, and what one would expect without them.

Each belongs to the software of a single source, so with that source left out nothing but what the
code of the framework says is known of it, and its interval is that of unmeasured software.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.catalog import find_software
from simulator.spec.profiles import MemoryProfile, SoftwareProfile


@dataclass(frozen=True, slots=True)
class Expected:
    """Constants of some profiles as they would be without the runs of a source."""

    source: str
    names: tuple[str, ...]
    constants: Mapping[str, float]
    """By field of `MemoryProfile`."""


UNFUSED_LOGITS_BYTES = 14.0
"""16-bit logits, their fp32 copy, its logarithmic softmax, and an fp32 gradient: 2 + 4 + 4 + 4."""
FUSED_LOGITS_BYTES = 6.0
"""16-bit logits and an fp32 copy that becomes their gradient: 2 + 4."""
UNFUSED_ADAMW_BYTES = 12.0
"""An fp32 copy of the gradient, the root of the second moment, and that divided by its correction:
4 + 4 + 4 (InternLM/InternEvo@eba2b85: internlm/solver/optimizer/fsdp_optimizer.py, with torch
1.13's AdamW, pytorch/pytorch:torch/optim/adamw.py, _single_tensor_adamw)."""

EXPECTED = (
    Expected("simumax-b200", ("megatron-plain",), {"logits_bytes": FUSED_LOGITS_BYTES}),
    Expected(
        "torchtitan",
        ("torchtitan", "torchtitan-async-tp", "torchtitan-rowwise", "torchtitan-async-tp-rowwise"),
        {"logits_bytes": UNFUSED_LOGITS_BYTES},
    ),
    Expected("torchtitan", ("torchtitan-eager",), {"logits_bytes": UNFUSED_LOGITS_BYTES + 2.0}),
    Expected("torchtitan", ("torchtitan-fused-loss",), {"logits_bytes": FUSED_LOGITS_BYTES}),
    Expected(
        "internevo",
        ("internevo",),
        {"logits_bytes": UNFUSED_LOGITS_BYTES, "update_bytes": UNFUSED_ADAMW_BYTES},
    ),
    Expected(
        "aleph-alpha",
        ("llama-eager", "llama-eager-flash1", "llama-eager-softmax", "llama-eager-torch"),
        {"logits_bytes": UNFUSED_LOGITS_BYTES, "ffn_copies": 1.0, "norm_copies": 2.0},
    ),
    Expected(
        "aleph-alpha",
        ("llama-eager-rms",),
        {"logits_bytes": UNFUSED_LOGITS_BYTES, "ffn_copies": 1.0},
    ),
)


def software_without(source: str, name: str) -> SoftwareProfile:
    """Return a software profile as it would be if a source had published no peaks."""
    profile = find_software(name)
    for each in EXPECTED:
        if each.source == source and name in each.names:
            unmeasured = {"interval_factor": MemoryProfile().interval_factor}
            memory = profile.memory.model_copy(update={**each.constants, **unmeasured})
            return profile.model_copy(update={"memory": memory})
    return profile
