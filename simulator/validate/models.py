"""The model behind a row: its cells, and what model families have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec
from simulator.validate.rows import RunRow

_DEEPSEEK_HEADS = {
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the columns of a table cannot say about a family of models."""

    pattern: str
    head_dim: int = 0
    mla: MlaSpec | None = None
    n_shared_experts: int = 0
    n_dense_layers: int = 0
    most_nodes: int = 0
    layer_period: int = 1
    qk_norm: bool = False


FAMILIES = (
    Family(
        pattern=r"deepseek.?-?v2.?-?lite",
        mla=MlaSpec(q_lora_rank=0, **_DEEPSEEK_HEADS),
        n_shared_experts=2,
        n_dense_layers=1,
    ),
    Family(
        pattern=r"deepseek.?-?v2",
        mla=MlaSpec(q_lora_rank=1536, **_DEEPSEEK_HEADS),
        n_shared_experts=2,
        n_dense_layers=1,
    ),
    Family(
        pattern=r"deepseek.?-?(v3|r1)",
        mla=MlaSpec(q_lora_rank=1536, **_DEEPSEEK_HEADS),
        n_shared_experts=1,
        n_dense_layers=3,
        most_nodes=4,
    ),
    Family(pattern=r"moonlight", n_shared_experts=2, n_dense_layers=1),
    Family(pattern=r"gpt.?oss", head_dim=64),
    Family(pattern=r"qwen.?3", head_dim=128, qk_norm=True),
    Family(pattern=r"llama.?4", head_dim=128, n_shared_experts=1, layer_period=2),
    Family(pattern=r"gemma", head_dim=256),
    Family(pattern=r""),
)
"""First match wins. From the models' published configurations."""


def model_of(row: RunRow) -> ModelSpec:
    """Return the model of a row whose dimensions are given. Raises ValueError."""
    family = next(each for each in FAMILIES if re.search(each.pattern, row.model.lower()))
    hidden, heads = row.hidden or 0, row.heads or 0
    gated = row.gated_ffn is not False
    dims = {
        "name": _name(row.model),
        "n_layers": row.n_layers,
        "hidden_size": hidden,
        "n_heads": heads,
        "n_kv_heads": row.kv_heads or heads,
        "head_dim": _stated(r"head_dim (\d+)", row.notes) or family.head_dim or hidden // heads,
        "ffn_size": row.ffn_hidden or 0,
        "gated_ffn": gated,
        "activation": "silu" if gated else "gelu",
        "norm": "rmsnorm" if gated else "layernorm",
        "position": "rope" if gated else "learned",
        "max_positions": row.seq_len,
        "vocab_size": row.vocab or 0,
        "tied_embeddings": _is_tied(row, gated=gated),
        "qk_norm": family.qk_norm if row.qk_norm is None else row.qk_norm,
        "n_mtp_layers": 1 if "w/ mtp" in row.model.lower() else 0,
        "mla": family.mla,
        "moe": _experts(row, family),
    }
    return ModelSpec.model_validate(dims)


def _experts(row: RunRow, family: Family) -> MoeSpec | None:
    if not row.n_experts or row.n_experts == 1:
        return None
    dense = family.n_dense_layers if row.first_dense_layers is None else row.first_dense_layers
    if row.first_dense_layers is None and dense and (row.n_layers or 0) <= 2 * dense:
        dense = 1
    stated = row.n_shared_experts
    return MoeSpec(
        n_experts=row.n_experts,
        top_k=row.top_k or 1,
        expert_ffn_size=row.moe_ffn_hidden or row.ffn_hidden or 1,
        n_shared_experts=family.n_shared_experts if stated is None else stated,
        n_dense_layers=min(dense, row.n_layers or 0),
        most_nodes=family.most_nodes,
        layer_period=_stated(r"MoE every (\d+)", row.notes) or family.layer_period,
    )


def _is_tied(row: RunRow, *, gated: bool) -> bool:
    """Tied where the row says so; otherwise networks with plain feed-forward layers are (GPT)."""
    return not gated if row.tied_embeddings is None else row.tied_embeddings


def _stated(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    return int(match[1]) if match else 0


def _name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return name[:60] or "model"
