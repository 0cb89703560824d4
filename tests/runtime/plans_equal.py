"""The plans whose losses must equal those of one process, and the models they are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from tests.runtime.plans import TINY, fp32

BATCH = 8

GPT = TINY.model_copy(
    update={
        "name": "gpt",
        "n_kv_heads": 4,
        "gated_ffn": False,
        "activation": "gelu",
        "position": "learned",
        "max_positions": 64,
        "norm": "layernorm",
        "qkv_bias": True,
        "attention_out_bias": True,
        "ffn_bias": True,
        "tied_embeddings": True,
        "vocab_size": 257,
    }
)
QWEN = TINY.model_copy(
    update={"name": "qwen", "qkv_bias": True, "qk_norm": True, "tied_embeddings": True}
)
NEOX = TINY.model_copy(
    update={
        "name": "neox",
        "n_kv_heads": 4,
        "gated_ffn": False,
        "activation": "relu2",
        "norm": "layernorm",
        "parallel_residual": True,
        "embedding_norm": True,
        "head_bias": True,
        "sliding_window": 8,
    }
)
BALANCED: dict[str, Any] = {
    "load_balancing": "sequence-aux-loss",
    "aux_loss_coefficient": 0.1,
    "z_loss_coefficient": 0.01,
}
MIXTRAL = TINY.model_copy(
    update={"name": "mixtral", "moe": MoeSpec(n_experts=4, top_k=2, expert_ffn_size=64, **BALANCED)}
)
DEEPSEEK = TINY.model_copy(
    update={
        "name": "deepseek",
        "moe": MoeSpec(
            n_experts=8,
            top_k=3,
            expert_ffn_size=32,
            n_shared_experts=2,
            shared_expert_gate=True,
            n_dense_layers=1,
            router_bias=True,
            router_score="sigmoid",
            routed_scale=2.5,
            **BALANCED,
        ),
    }
)
LATENT = TINY.model_copy(
    update={
        "name": "latent",
        "n_kv_heads": 4,
        "head_dim": 24,
        "mla": MlaSpec(
            q_lora_rank=32,
            kv_lora_rank=16,
            qk_nope_head_dim=16,
            qk_rope_head_dim=8,
            v_head_dim=12,
        ),
        "moe": MoeSpec(
            n_experts=8,
            top_k=2,
            expert_ffn_size=32,
            n_shared_experts=1,
            n_dense_layers=1,
            n_groups=4,
            top_groups=2,
            **BALANCED,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Case:
    """A plan that must train like one process."""

    name: str
    plan: PlanSpec
    model: ModelSpec = TINY


def _case(name: str, model: ModelSpec = TINY, **decisions: object) -> Case:
    decisions = {"microbatch_sequences": 2 if "tp" in decisions else 1} | decisions
    ranks = fp32(**decisions)
    n_microbatches = BATCH // ranks.dp // ranks.microbatch_sequences
    return Case(name, fp32(**decisions, n_microbatches=n_microbatches), model)


REFERENCES = tuple(
    _case(f"one process, {model.name}", model, microbatch_sequences=BATCH)
    for model in (TINY, GPT, QWEN, NEOX, MIXTRAL, DEEPSEEK, LATENT)
)
INTERLEAVED: dict[str, Any] = {"pp": 2, "virtual_stages": 2, "schedule": "interleaved-1f1b"}

ONE_RANK = (
    _case("accumulation"),
    _case("recompute full", recompute="full"),
    _case("recompute selective", recompute="selective"),
    _case("recompute every second layer, of the others mlp", recompute="every-2+mlp"),
)
SP2: dict[str, Any] = {"tp": 2, "sequence_parallel": True}
ZB_V: dict[str, Any] = {"pp": 2, "virtual_stages": 2, "schedule": "zb-v"}

TWO_RANKS = (
    _case("DDP", dp_replicate=2, microbatch_sequences=4),
    _case("DDP, accumulation", dp_replicate=2),
    _case("ZeRO-1", dp_shard=2, zero_stage=1),
    _case("ZeRO-2", dp_shard=2, zero_stage=2),
    _case("ZeRO-3", dp_shard=2, zero_stage=3),
    _case("ZeRO-3, recompute full", dp_shard=2, zero_stage=3, recompute="full"),
    _case("ZeRO-3, recompute selective", dp_shard=2, zero_stage=3, recompute="selective"),
    _case("ZeRO-3, gpt", GPT, dp_shard=2, zero_stage=3),
    _case("TP", tp=2, microbatch_sequences=4),
    _case("TP + SP", tp=2, sequence_parallel=True, microbatch_sequences=4),
    _case("TP + SP, recompute full", tp=2, sequence_parallel=True, recompute="full"),
    _case("TP + SP, recompute mlp", tp=2, sequence_parallel=True, recompute="mlp"),
    _case("TP, gpt", GPT, tp=2, microbatch_sequences=4),
    _case("TP + SP, gpt", GPT, tp=2, sequence_parallel=True, microbatch_sequences=4),
    _case("TP, qwen", QWEN, tp=2, microbatch_sequences=4),
    _case("TP + SP, qwen", QWEN, tp=2, sequence_parallel=True, microbatch_sequences=4),
    _case("TP + SP, neox", NEOX, tp=2, sequence_parallel=True, microbatch_sequences=4),
    _case("PP gpipe", pp=2, schedule="gpipe"),
    _case("PP 1f1b", pp=2),
    _case("PP 1f1b, uneven stages", pp=2, layers_per_chunk=(3, 1)),
    _case("PP interleaved", **INTERLEAVED),
    _case("PP 1f1b, recompute full", pp=2, recompute="full"),
    _case("PP 1f1b, recompute a layer of a stage", pp=2, recompute="first-1+selective"),
    _case("PP 1f1b, gpt (tied)", GPT, pp=2),
    _case("PP looped-bfs", pp=2, virtual_stages=2, schedule="looped-bfs"),
    _case("PP zero-bubble", pp=2, schedule="zero-bubble"),
    _case("PP zb-h2", pp=2, schedule="zb-h2"),
    _case("PP zb-v", pp=2, virtual_stages=2, schedule="zb-v"),
    _case("PP dualpipe-v", pp=2, virtual_stages=2, schedule="dualpipe-v"),
    _case("TP, deepseek", DEEPSEEK, tp=2, microbatch_sequences=4),
    _case("TP + SP, deepseek", DEEPSEEK, **SP2, microbatch_sequences=4),
    _case("EP, mixtral", MIXTRAL, dp_replicate=2, ep=2, microbatch_sequences=2),
    _case("EP x ZeRO-2", DEEPSEEK, dp_shard=2, zero_stage=2, ep=2),
    _case(
        "EP x ZeRO-3, recompute selective",
        DEEPSEEK,
        dp_shard=2,
        zero_stage=3,
        ep=2,
        recompute="selective",
    ),
    _case("EP over TP + SP", DEEPSEEK, **SP2, ep=2, microbatch_sequences=4),
    _case("PP zb-v, deepseek", DEEPSEEK, **ZB_V),
    _case(
        "EP x ZeRO-3, recompute selective, latent",
        LATENT,
        dp_shard=2,
        zero_stage=3,
        ep=2,
        microbatch_sequences=2,
        recompute="selective",
    ),
    _case("PP zb-v, latent", LATENT, **ZB_V, microbatch_sequences=2),
    _case("CP, gpt", GPT, cp=2, microbatch_sequences=2),
    _case("CP x ZeRO-1, recompute selective", cp=2, zero_stage=1, recompute="selective"),
    _case("CP x ZeRO-3, qwen", QWEN, cp=2, zero_stage=3, microbatch_sequences=4),
    _case("CP x EP", DEEPSEEK, cp=2, ep=2, microbatch_sequences=2),
)
MORE_OF_TWO_RANKS = (
    _case("EP, latent, recompute full", LATENT, dp_replicate=2, ep=2, recompute="full"),
    _case("DDP, mixtral", MIXTRAL, dp_replicate=2),
    _case("ZeRO-3, deepseek", DEEPSEEK, dp_shard=2, zero_stage=3),
    _case("EP, deepseek", DEEPSEEK, dp_replicate=2, ep=2, microbatch_sequences=4),
    _case(
        "EP x ZeRO-3, recompute full",
        DEEPSEEK,
        dp_shard=2,
        zero_stage=3,
        ep=2,
        recompute="full",
    ),
    _case("PP, deepseek", DEEPSEEK, pp=2),
    _case("CP", cp=2, microbatch_sequences=4),
    _case("CP, recompute full", cp=2, recompute="full"),
    _case("CP, deepseek", DEEPSEEK, cp=2),
    _case("CP x EP x ZeRO-3", DEEPSEEK, cp=2, zero_stage=3, ep=2),
)
FOUR_RANKS = (
    _case("HSDP 2x2, ZeRO-2", dp_replicate=2, dp_shard=2, zero_stage=2),
    _case("HSDP 2x2, ZeRO-3", dp_replicate=2, dp_shard=2, zero_stage=3),
    _case("DDP x TP", dp_replicate=2, tp=2),
    _case("ZeRO-3 x TP", dp_shard=2, zero_stage=3, tp=2),
    _case("ZeRO-3 x TP + SP", dp_shard=2, zero_stage=3, tp=2, sequence_parallel=True),
    _case("ZeRO-3 x TP + SP, qwen", QWEN, dp_shard=2, zero_stage=3, tp=2, sequence_parallel=True),
    _case("PP x DDP, accumulation", pp=2, dp_replicate=2),
    _case("PP x ZeRO-1", pp=2, dp_shard=2, zero_stage=1),
    _case("PP interleaved x ZeRO-1", dp_shard=2, zero_stage=1, **INTERLEAVED),
    _case("PP zb-v x ZeRO-1", pp=2, virtual_stages=2, schedule="zb-v", dp_shard=2, zero_stage=1),
    _case("PP x TP", pp=2, tp=2),
    _case("PP interleaved x TP + SP", tp=2, sequence_parallel=True, **INTERLEAVED),
    _case("PP x TP + SP, qwen (tied)", QWEN, pp=2, tp=2, sequence_parallel=True),
    _case("PP x ZeRO-1, qwen (tied)", QWEN, pp=2, dp_shard=2, zero_stage=1),
    _case("EP x HSDP 2x2", DEEPSEEK, dp_replicate=2, dp_shard=2, zero_stage=3, ep=2),
    _case("EP x ZeRO-3 x TP + SP", DEEPSEEK, dp_shard=2, zero_stage=3, ep=2, **SP2),
    _case("EP x PP zb-v x ZeRO-1", DEEPSEEK, dp_shard=2, zero_stage=1, ep=2, **ZB_V),
    _case("CP 4", cp=4, microbatch_sequences=4),
    _case("CP x HSDP", cp=2, dp_replicate=2, zero_stage=3, microbatch_sequences=2),
    _case("CP x EP x TP + SP", DEEPSEEK, cp=2, ep=4, **SP2, microbatch_sequences=4),
    _case("CP x EP x PP", DEEPSEEK, cp=2, pp=2, ep=2),
)
MORE_OF_FOUR_RANKS = (
    _case("EP x DDP", DEEPSEEK, dp_replicate=4, ep=2),
    _case("EP x PP x ZeRO-1, latent", LATENT, pp=2, dp_shard=2, zero_stage=1, ep=2),
    _case("EP x HSDP 2x2, latent", LATENT, dp_replicate=2, dp_shard=2, zero_stage=3, ep=2),
    _case("EP 4", MIXTRAL, dp_replicate=4, ep=4),
    _case("EP x ZeRO-3", DEEPSEEK, dp_shard=4, zero_stage=3, ep=2),
    _case("EP 4 x ZeRO-1 x TP + SP", DEEPSEEK, dp_shard=2, zero_stage=1, ep=4, **SP2),
    _case("EP x DDP x TP + SP", DEEPSEEK, dp_replicate=2, ep=2, **SP2),
    _case("EP x PP x ZeRO-1", DEEPSEEK, pp=2, dp_shard=2, zero_stage=1, ep=2),
    _case("EP x PP x DDP", DEEPSEEK, pp=2, dp_replicate=2, ep=2),
    _case("EP x PP x TP + SP", DEEPSEEK, pp=2, ep=2, **SP2),
    _case("CP x DDP", cp=2, dp_replicate=2),
    _case("CP x ZeRO-2", cp=2, dp_shard=2, zero_stage=2),
    _case("CP x TP", cp=2, tp=2),
    _case("CP x ZeRO-3 x TP + SP", cp=2, zero_stage=3, **SP2),
    _case("CP x PP", cp=2, pp=2),
    _case("CP x PP x ZeRO-1, qwen (tied)", QWEN, cp=2, pp=2, zero_stage=1),
    _case("CP x EP x ZeRO-1 x TP + SP", DEEPSEEK, cp=2, ep=2, zero_stage=1, **SP2),
    _case("CP x EP x ZeRO-3 over 2 x 2", DEEPSEEK, cp=2, dp_shard=2, zero_stage=3, ep=2),
)
EIGHT_RANKS = (
    _case("PP x ZeRO-1 x TP + SP", pp=2, dp_shard=2, zero_stage=1, tp=2, sequence_parallel=True),
    _case("PP x DDP x TP", pp=2, dp_replicate=2, tp=2),
    _case("HSDP 2x2 x TP", dp_replicate=2, dp_shard=2, zero_stage=3, tp=2),
    _case("EP x PP x ZeRO-1 x TP + SP", DEEPSEEK, pp=2, dp_shard=2, zero_stage=1, ep=2, **SP2),
    _case("CP x EP x PP x TP + SP", DEEPSEEK, cp=2, pp=2, ep=4, zero_stage=1, **SP2),
    _case("CP x EP x HSDP", DEEPSEEK, cp=2, ep=4, dp_replicate=2, dp_shard=2, zero_stage=3),
)
