"""The job: what is to be trained on, and with what arithmetic."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import Fraction, Name, Precision, Spec
from simulator.spec.units import Bytes, Count

DEFAULT_BATCH_SEQUENCES = 1024

Attention = Literal["fused", "unfused"]
LaunchName = Literal["eager", "compiled", "cuda-graphs"]


def round_batch(sequences: float, *, tolerance: float = 0.05) -> int:
    """Return a batch of whole sequences that can be divided over devices.

    A whole number stays as it is. Otherwise "16e6 tokens" means a batch of about that size: of the
    whole numbers within the tolerance, the one divisible by the highest power of two is taken, the
    nearest one among equals. 16e6 tokens in sequences of 8,192 become 2,048 sequences.
    """
    if float(sequences).is_integer():
        return int(sequences)
    low = max(1, math.ceil(sequences * (1 - tolerance)))
    high = math.floor(sequences * (1 + tolerance))
    if high < low:
        return max(1, round(sequences))
    power = 1 << (high.bit_length() - 1)
    while high // power * power < low:
        power //= 2
    candidates = range(-(-low // power) * power, high + 1, power)
    return min(candidates, key=lambda count: abs(count - sequences))


class OverlapChoice(Spec):
    """What hides behind compute, where it is not as the software generation has it."""

    tp: Fraction | None = None
    """Share of tensor-parallel exchanges (async TP), between 0 and 1; likewise the others."""
    cp: Fraction | None = None
    """Of context-parallel rings."""
    ep: Fraction | None = None
    """Of tokens on their way to experts and back."""
    dp: Fraction | None = None
    """Of reductions of gradients, and of weights gathered for every pass (FSDP)."""
    dp_gather: Fraction | None = None
    """Of weights gathered once a step (ZeRO 1 and 2)."""
    pp: Fraction | None = None
    """Of transfers between interleaved stages."""
    contention: Fraction | None = None
    """Share of hidden data-parallel traffic by which it slows the compute it hides behind."""
    bucket_bytes: Bytes | None = Field(default=None, ge=0)
    """Largest message of gradients or weights; 0 sends those of a layer together."""

    @property
    def chosen(self) -> dict[str, float]:
        """Return what is chosen."""
        return self.model_dump(exclude_none=True)


class JobSpec(Spec):
    """Tokens, batch and number formats of one training."""

    tokens: Count = Field(default=10**12, ge=1)
    """Tokens to train on in the whole campaign."""
    sequence_length: Count = Field(default=8192, ge=1, le=2**26)
    global_batch_sequences: Count | None = Field(default=None, ge=1)
    """Sequences of one step; default 1024, or what global_batch_tokens says."""
    global_batch_tokens: Count | None = Field(default=None, ge=1)
    """Tokens of one step; see `round_batch` for what happens between whole sequences."""
    sync_every_steps: Count = Field(default=1, ge=1, le=10_000)
    """Steps after which replicated copies (dp_replicate) exchange what they learned; more than 1 is
    local SGD, whose effect on the loss is not modelled."""
    precision: Precision = Precision.BF16
    optimizer: Literal["adamw", "sgd"] = "adamw"
    attention: Attention = "fused"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the values that are dropped behind attention and feed-forward network."""
    gradient_dtype: Literal["fp32", "bf16"] = "fp32"
    """Format in which gradients are kept and reduced."""
    launch: LaunchName | None = None
    """How kernels are launched; unset means as the software generation does."""
    expert_imbalance: float = Field(default=1.0, ge=1)
    """Tokens of the busiest expert-parallel rank over the mean; 1 is a balanced routing."""
    overlap: OverlapChoice = OverlapChoice()
    software: Name = "default"
    """Software generation (kernels and overlap), a profile of the catalog."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.global_batch_sequences is not None and self.global_batch_tokens is not None:
            raise ValueError("give global_batch_sequences or global_batch_tokens, not both")
        if self.global_batch_tokens is not None and self.global_batch_tokens < self.sequence_length:
            raise ValueError(
                f"global_batch_tokens={self.global_batch_tokens} is less than one sequence of "
                f"{self.sequence_length} tokens"
            )
        return self

    @property
    def batch_sequences(self) -> int:
        """Sequences of one step."""
        if self.global_batch_sequences is not None:
            return self.global_batch_sequences
        if self.global_batch_tokens is not None:
            return round_batch(self.global_batch_tokens / self.sequence_length)
        return DEFAULT_BATCH_SEQUENCES

    @property
    def batch_tokens(self) -> int:
        """Tokens of one step."""
        return self.batch_sequences * self.sequence_length

    @property
    def n_steps(self) -> int:
        """Steps until all tokens are seen."""
        return -(-self.tokens // self.batch_tokens)
