"""Which software generation of the catalog a row ran, from what it says about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from simulator.validate.rows import RunRow


@dataclass(frozen=True, slots=True)
class Rule:
    """A profile, and what a row must say to get it (all patterns, in any of its texts)."""

    profile: str
    patterns: tuple[str, ...]
    gradient_dtype: Literal["fp32", "bf16"] = "fp32"


RULES = (
    Rule("maxtext", (r"jax|maxtext|tpu",)),
    Rule("megatron-plain", (r"simumax|no comm overlap",)),
    Rule("megatron-2021", (r"unfused", r"megatron|sc21|korthikanti|mt-nlg")),
    Rule("megatron-bridge-25", (r"container 2(5\.|6\.02;)",), "bf16"),
    Rule("megatron-bridge-26.02.01", (r"container 26\.0(2\.|4)",), "bf16"),
    Rule("megatron-bridge-26.06", (r"container 26",), "bf16"),
    Rule("megatron-core-2024", (r"megatron|nemo|transformer.?engine|\bte\b",), "bf16"),
    Rule("torchtitan-eager", (r"torchtitan", r"; eager;")),
    Rule("torchtitan-async-tp", (r"torchtitan", r"async ?tp")),
    Rule("torchtitan", (r"torchtitan",)),
    Rule("llm-foundry", (r"llm-foundry|mosaic|composer",)),
    Rule("internevo", (r"internevo|internlm",)),
    Rule("llama-eager-rms", (r"aleph|hagemann", r"rms kernel")),
    Rule("llama-eager-flash1", (r"aleph|hagemann", r"flash.?attention.?v?1")),
    Rule("llama-eager-softmax", (r"aleph|hagemann", r"\| fused \|")),
    Rule("llama-eager-torch", (r"aleph|hagemann", r"\| torch \|")),
    Rule("llama-eager", (r"aleph|hagemann",)),
    Rule("torchtitan", (r"compile", r"fsdp2")),
    Rule("fsdp-eager", (r"fsdp|zero-3",)),
    Rule("nanotron", (r"nanotron|picotron|eager",)),
    Rule("default", ()),
)
"""First match wins."""


def software_rule(row: RunRow) -> Rule:
    """Return the first rule that the row meets."""
    said = [row.device, row.source, row.zero_stage_or_fsdp, row.attention_impl, row.notes]
    text = " | ".join([*said, ""]).lower()
    for rule in RULES:
        if all(re.search(pattern, text) for pattern in rule.patterns):
            return rule
    raise AssertionError("the last rule matches everything")


def has_unfused_attention(row: RunRow) -> bool:
    """Whether scores go through memory."""
    return bool(re.match(r"(unfused|fused$|torch$|eager|math|naive)", row.attention_impl.lower()))
