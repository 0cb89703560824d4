"""Plans that between them use every decision an export can express."""

from __future__ import annotations

from typing import Any

from simulator.campaign.predict import predict
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, Provenance
from simulator.spec.target import LAUNCHERS

INTERLEAVED: dict[str, Any] = {"schedule": "interleaved-1f1b", "virtual_stages": 2}

PLANS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ddp": ("llama3-8b", "h100-sxm:8", {"dp_replicate": 8}),
    "llama3.1 x gpipe": (
        "llama3.1-8b",
        "h100-sxm:8",
        {"dp_shard": 4, "pp": 2, "zero_stage": 2, "schedule": "gpipe"},
    ),
    "llama3.1 x zero1": ("llama3.1-8b", "h100-sxm:8", {"dp_shard": 8, "zero_stage": 1}),
    "fsdp": ("llama3-8b", "h100-sxm:64", {"dp_shard": 64, "zero_stage": 3, "recompute": "full"}),
    "hsdp": (
        "llama3-8b",
        "h100-sxm:64",
        {"dp_replicate": 8, "dp_shard": 8, "zero_stage": 2, "recompute": "selective"},
    ),
    "fsdp x tp": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 8, "tp": 8, "zero_stage": 3, "sequence_parallel": True},
    ),
    "zero1 x tp x pp": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 4, "tp": 4, "pp": 4, "zero_stage": 1, "sequence_parallel": True},
    ),
    "zero1 x tp x pp, interleaved": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 2, "tp": 8, "pp": 4, "zero_stage": 1, "sequence_parallel": True}
        | INTERLEAVED
        | {"recompute": "full"},
    ),
    "zero2 x tp x pp, interleaved, uneven": (
        "llama3.1-405b",
        "h100-sxm:512",
        {"dp_shard": 8, "tp": 8, "pp": 8, "zero_stage": 2, "sequence_parallel": True} | INTERLEAVED,
    ),
    "zero1 x pp, uneven": (
        "llama3.1-405b",
        "h100-sxm:512",
        {"dp_shard": 8, "tp": 8, "pp": 8, "zero_stage": 1, "sequence_parallel": True}
        | {"recompute": "first-4"},
    ),
    "cp": (
        "llama3-8b",
        "h100-sxm:32",
        {"dp_shard": 8, "cp": 4, "zero_stage": 3},
    ),
    "megatron cp, two optimizer instances": (
        "llama3-8b",
        "h100-sxm:64",
        {"dp_replicate": 2, "dp_shard": 4, "cp": 4, "tp": 2, "zero_stage": 1}
        | {"recompute": "groups-of-4"},
    ),
    "moe with ep": (
        "deepseek-v3",
        "h100-sxm:256",
        {"dp_shard": 32, "pp": 8, "ep": 32, "zero_stage": 1}
        | {"recompute": "layernorm+moe-act+mla-up-proj"},
    ),
    "moe with ep and multi-token prediction, fsdp": (
        "deepseek-v3",
        "h100-sxm:256",
        {"dp_replicate": 2, "dp_shard": 128, "ep": 64, "zero_stage": 3, "recompute": "selective"},
    ),
    "sliding window": ("mistral-7b", "h100-sxm:16", {"dp_shard": 16, "zero_stage": 1}),
    "moe with ep, fsdp": (
        "qwen3-30b-a3b",
        "h100-sxm:64",
        {"dp_shard": 64, "ep": 8, "zero_stage": 3},
    ),
    "mixtral": (
        "mixtral-8x7b",
        "h100-sxm:64",
        {"dp_shard": 32, "tp": 2, "ep": 8, "zero_stage": 1, "sequence_parallel": True},
    ),
    "zero2 x pp, chunks in a V": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 16, "pp": 4, "zero_stage": 2, "schedule": "zb-v", "virtual_stages": 2},
    ),
    "zero2 x pp, chunks in a V, overlapped": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 16, "pp": 4, "zero_stage": 2, "schedule": "dualpipe-v", "virtual_stages": 2},
    ),
    "zero2 x pp, zero-bubble": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 16, "pp": 4, "zero_stage": 2, "schedule": "zero-bubble", "virtual_stages": 2},
    ),
    "zero2 x pp, breadth first": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 16, "pp": 4, "zero_stage": 2, "schedule": "looped-bfs", "virtual_stages": 2},
    ),
    "hsdp, recompute": (
        "llama3-8b",
        "h100-sxm:64",
        {"dp_replicate": 8, "dp_shard": 8, "zero_stage": 2, "recompute": "full"},
    ),
    "fsdp x tp, no sp": (
        "llama3-70b",
        "h100-sxm:64",
        {"dp_shard": 8, "tp": 8, "zero_stage": 3},
    ),
    "gpt x zero2": ("gpt3-175b", "a100-sxm-80gb:64", {"dp_shard": 64, "zero_stage": 2}),
    "gpt x zero1 x pp": (
        "gpt3-175b",
        "a100-sxm-80gb:64",
        {"dp_shard": 8, "pp": 8, "zero_stage": 1, "recompute": "full"},
    ),
    "gpt x zero1 x pp, groups of layers": (
        "gpt3-175b",
        "a100-sxm-80gb:64",
        {"dp_shard": 8, "pp": 8, "zero_stage": 1, "recompute": "groups-of-4"},
    ),
    "tiny": ("tiny-llama-5m", "cpu:4", {"dp_replicate": 2, "tp": 2}),
    "tiny in 16 processes on nodes": (
        "tiny-llama-5m",
        "h100-sxm:16",
        {"dp_replicate": 4, "dp_shard": 4, "zero_stage": 3},
    ),
}

PAIRS: list[tuple[str, str]] = [
    ("torchtitan", name)
    for name in (
        "ddp",
        "fsdp",
        "hsdp",
        "fsdp x tp",
        "zero2 x tp x pp, interleaved, uneven",
        "zero2 x pp, chunks in a V",
        "zero2 x pp, chunks in a V, overlapped",
        "zero2 x pp, zero-bubble",
        "zero2 x pp, breadth first",
        "llama3.1 x gpipe",
        "cp",
        "moe with ep, fsdp",
        "moe with ep and multi-token prediction, fsdp",
    )
]
PAIRS += [
    ("megatron", name)
    for name in (
        "ddp",
        "zero1 x tp x pp",
        "zero1 x tp x pp, interleaved",
        "zero1 x pp, uneven",
        "megatron cp, two optimizer instances",
        "llama3.1 x zero1",
        "moe with ep",
        "mixtral",
        "sliding window",
        "gpt x zero1 x pp",
    )
]
PAIRS += [
    ("deepspeed", name)
    for name in (
        "ddp",
        "fsdp",
        "gpt x zero2",
        "gpt x zero1 x pp",
        "gpt x zero1 x pp, groups of layers",
        "tiny",
    )
]
PAIRS += [
    ("accelerate", name) for name in ("ddp", "fsdp", "cp", "hsdp, recompute", "fsdp x tp, no sp")
]
PAIRS += [
    (target, name) for target in LAUNCHERS for name in ("tiny", "tiny in 16 processes on nodes")
]
"""Targets, each with the plans that it can run."""


def plan_file(name: str, **changes: Any) -> PlanFile:
    """Return a plan file that nobody searched, with real predictions."""
    model, cluster, decisions = PLANS[name]
    scenario = scenario_from_flags(
        model=model,
        cluster=cluster,
        tokens="10B",
        sequence_length="512"
        if cluster.startswith("cpu")
        else "4096"
        if "gpt3" not in model
        else "2048",
        batch="512",
    )
    decisions = decisions | changes
    plan = PlanSpec.model_validate(decisions | {"precision": scenario.job.precision})
    plan = plan.model_copy(update={"n_microbatches": 512 // plan.dp})
    return PlanFile(
        scenario=scenario,
        plan=plan,
        prediction=predict(scenario, plan),
        provenance=Provenance.of(scenario),
    )
