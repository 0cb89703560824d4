"""Which software generation of the catalog a row ran, from what it says about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from simulator.spec.recompute import RecomputeName
from simulator.validate.rows import RunRow

MemoryMeasure = Literal["allocated", "reserved", "used"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A profile, and what a row must say to get it (all patterns, in any of its texts)."""

    profile: str
    patterns: tuple[str, ...]
    gradient_dtype: Literal["fp32", "bf16"] = "fp32"
    blank_recompute: RecomputeName | None = None
    """What a blank recompute cell means; None: the lightest kind that fits in memory."""
    measures: MemoryMeasure = "reserved"
    """Which peak its memory figures are: of tensors, of the allocator, or of the device."""

    @property
    def selective(self) -> RecomputeName:
        """What a cell that says no more than `selective` means: Megatron's is the attention core
        (arXiv 2205.05198, section 5), that of others whatever is no matrix product.
        """
        return "core-attn" if self.profile.startswith("megatron") else "selective"


_EARLY = "predates fusion"
"""Joins what rows of early articles say."""

RULES = (
    Rule("maxtext", (r"tpu",)),
    Rule("maxtext-gpu", (r"jax|maxtext|levanter|paxml|t5x|alpa\b",), blank_recompute="selective"),
    Rule("megatron-plain-b200", (r"simumax|no comm overlap", r"b200|b300"), measures="allocated"),
    Rule("megatron-plain", (r"simumax|no comm overlap",), measures="allocated"),
    Rule("megatron-deepspeed", (r"mt-nlg|gpt-?neox",)),
    Rule("megatron-deepspeed", (r"megatron", r"deepspeed")),
    Rule("megatron-2021", (rf"unfused|{_EARLY}", r"megatron|sc21|korthikanti", r"fp16"), "bf16"),
    Rule("megatron-2021", (rf"unfused|{_EARLY}", r"megatron|sc21|korthikanti")),
    Rule("megatron-bridge-25.09", (r"container 25\.09",), "bf16", "none"),
    Rule("megatron-bridge-25.11", (r"container 2(5\.|6\.02;)",), "bf16", "none"),
    Rule("megatron-bridge-26.02.01", (r"container 26\.0(2\.|4)",), "bf16", "none"),
    Rule("megatron-bridge-26.02.01", (r"container 26", r"h[12]00"), "bf16", "none"),
    Rule("megatron-bridge-26.06", (r"container 26",), "bf16", "none"),
    Rule("megatron-core-split-experts", (r"etp=4|v25\.03;.*grok",), "bf16", "none"),
    Rule("megatron-core-2024", (r"megatron|nemo|transformer.?engine|\bte\b",), "bf16", "none"),
    Rule("torchtitan-eager", (r"torchtitan", r"; eager;")),
    Rule("torchtitan-fused-loss", (r"torchtitan", r"\| nvfp4 \|"), blank_recompute="full"),
    Rule("torchtitan-async-tp-rowwise", (r"torchtitan", r"async ?tp", r"rowwise")),
    Rule("torchtitan-async-tp", (r"torchtitan", r"async ?tp")),
    Rule("torchtitan-rowwise", (r"torchtitan", r"rowwise")),
    Rule("torchtitan", (r"torchtitan",), blank_recompute="full"),
    Rule("llm-foundry", (r"llm-foundry|mosaic|composer",)),
    Rule("internevo", (r"internevo|internlm",), "bf16", measures="used"),
    Rule("llama-eager-rms", (r"aleph|hagemann", r"rms kernel"), "bf16"),
    Rule("llama-eager-flash1", (r"aleph|hagemann", r"flash.?attention.?v?1"), "bf16"),
    Rule("llama-eager-softmax", (r"aleph|hagemann", r"\| fused \|"), "bf16"),
    Rule("llama-eager-torch", (r"aleph|hagemann", r"\| torch \|"), "bf16"),
    Rule("llama-eager", (r"aleph|hagemann",), "bf16"),
    Rule("nanotron", (r"nanotron|picotron",)),
    Rule("torchtitan", (r"compile",)),
    Rule("torchtitan", (r"nanogpt|litgpt|lit-gpt|torchtune",)),
    Rule("fsdp-eager", (r"fsdp|zero|deepspeed|hugging|transformers|accelerate|axolotl|trl\b",)),
    Rule("fsdp-eager", (r"factory|lightning|fairscale|fairseq|metaseq|olmo|colossal|eager|ddp\b",)),
    Rule("megatron-2021", (_EARLY,)),
    Rule("default", ()),
)
"""First match wins."""


def software_rule(row: RunRow) -> Rule:
    """Return the first rule that the row meets."""
    said = [row.device, row.source, row.precision, row.zero_stage_or_fsdp, row.attention_impl]
    text = " | ".join([*said, row.notes, row.model, _EARLY * is_early(row)]).lower()
    for rule in RULES:
        if all(re.search(pattern, text) for pattern in rule.patterns):
            return rule
    raise AssertionError("the last rule matches everything")


FIRST_FUSED = 2301
"""Year and month of articles from which on fused attention and sequence parallelism are usual.
Articles (arXiv 2205.14135, 2205.05198) and frameworks are months apart."""


def is_early(row: RunRow) -> bool:
    """Whether a row comes from an article of before fused attention, by its arXiv number."""
    article = re.search(r"arxiv\D{0,5}(\d{4})\.\d", row.source.lower())
    return article is not None and int(article[1]) < FIRST_FUSED


def has_unfused_attention(row: RunRow) -> bool:
    """Whether scores go through memory; not stated, in early articles and on V100.

    Attention sinks (GPT-OSS) had no fused kernel before Megatron-Bridge 26.06.
    """
    if re.search(r"gpt.?oss", row.model.lower()):
        return bool(re.search(r"container 2(5|6\.0[24])", row.notes))
    if not row.attention_impl:
        return is_early(row) or "v100" in row.device.lower()
    return bool(re.match(r"(unfused|fused$|torch$|eager|math|naive)", row.attention_impl.lower()))
