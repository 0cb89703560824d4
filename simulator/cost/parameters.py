"""Parameters of a model, counted from its dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec


class Weights(NamedTuple):
    """Parameters of one piece, by what they do."""

    matrix: int
    """Entries of matrices that multiply every token they see."""
    other: int
    """Biases, norms and embeddings."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrix + self.other


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """How many parameters a model has, and where; all layer figures are of one layer.

    Transformers' models on the meta device have exactly `total - mtp` parameters (the test says
    for which families).
    """

    embedding: int
    """Token, position, segment and patch embeddings with their norm."""
    attention: int
    """The attention of one layer, without norms around it."""
    dense_layer: int
    """One layer with an ordinary feed-forward network."""
    moe_layer: int
    """One layer with all its experts; 0 without experts."""
    moe_layer_active: int
    """What one token meets of it."""
    moe_layer_experts: int
    """The routed experts alone."""
    n_dense_layers: int
    n_moe_layers: int
    final_norm: int
    head: int
    """What the head owns: nothing of a matrix that is tied to the embedding."""
    mtp: int
    """All multi-token-prediction layers."""
    mtp_active: int
    """What one token meets of them."""
    matmul: int
    """Matrix entries that one token meets: N of 6 N FLOPs. The head counts even when tied, the
    input embedding does not."""

    @property
    def layers(self) -> int:
        """All layers, without multi-token prediction."""
        return self.n_dense_layers * self.dense_layer + self.n_moe_layers * self.moe_layer

    @property
    def total(self) -> int:
        """Everything that is trained."""
        return self.embedding + self.layers + self.final_norm + self.head + self.mtp

    @property
    def active(self) -> int:
        """What one token meets, embeddings included."""
        idle = self.n_moe_layers * (self.moe_layer - self.moe_layer_active)
        return self.total - idle - (self.mtp - self.mtp_active)


def count_parameters(model: ModelSpec) -> ParameterCount:
    """Return the parameter count of a model."""
    attention, norms = _attention(model), 2 * _norm(model, model.hidden_size)
    dense = _ffn(model, model.ffn_size)
    router, shared, expert = _mixture(model, model.moe) if model.moe else (Weights(0, 0),) * 3
    n_experts, top_k = (model.moe.n_experts, model.moe.top_k) if model.moe else (0, 0)
    around = attention.total + norms + router.total + shared.total
    n_moe = model.n_moe_layers
    n_dense = model.n_layers - n_moe
    head = _head(model)
    dense_matrix = attention.matrix + dense.matrix
    moe_matrix = attention.matrix + router.matrix + shared.matrix + top_k * expert.matrix
    dense_layer = attention.total + norms + dense.total
    moe_layer = around + n_experts * expert.total if model.moe else 0
    moe_layer_active = around + top_k * expert.total if model.moe else 0
    # A multi-token-prediction layer: a layer, a 2h x h projection and three norms; it shares
    # embedding and head (DeepSeek-V3, arXiv 2412.19437, section 2.2).
    projection = 2 * model.hidden_size**2
    added = projection + 3 * _norm(model, model.hidden_size)
    last_matrix = moe_matrix if model.moe else dense_matrix
    return ParameterCount(
        embedding=_embedding(model),
        attention=attention.total,
        dense_layer=dense_layer,
        moe_layer=moe_layer,
        moe_layer_active=moe_layer_active,
        moe_layer_experts=n_experts * expert.total,
        n_dense_layers=n_dense,
        n_moe_layers=n_moe,
        final_norm=_norm(model, model.hidden_size) if model.final_norm else 0,
        head=head.other if model.tied_embeddings else head.total,
        mtp=model.n_mtp_layers * (added + (moe_layer or dense_layer)),
        mtp_active=model.n_mtp_layers * (added + (moe_layer_active or dense_layer)),
        matmul=n_dense * dense_matrix
        + n_moe * moe_matrix
        + _patch_matrix(model)
        + head.matrix
        + model.n_mtp_layers * (last_matrix + projection + head.matrix),
    )


def _norm(model: ModelSpec, width: int) -> int:
    return width if model.norm == "rmsnorm" else 2 * width


def _attention(model: ModelSpec) -> Weights:
    if model.mla is not None:
        return _latent_attention(model, model.mla)
    matrix = model.hidden_size * (2 * model.q_size + 2 * model.kv_size)
    bias = model.qkv_bias * (model.q_size + 2 * model.kv_size)
    bias += model.attention_out_bias * model.hidden_size
    return Weights(matrix, bias + model.qk_norm * 2 * _norm(model, model.head_dim))


def _latent_attention(model: ModelSpec, mla: MlaSpec) -> Weights:
    """Count the low-rank projections of DeepSeek-V2 (arXiv 2405.04434, section 2.1)."""
    query = model.n_heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    down = mla.kv_lora_rank + mla.qk_rope_head_dim
    up = model.n_heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    if mla.q_lora_rank:
        query_matrix = mla.q_lora_rank * (model.hidden_size + query)
        query_norm = _norm(model, mla.q_lora_rank)
    else:
        query_matrix, query_norm = model.hidden_size * query, 0
    out = model.n_heads * mla.v_head_dim * model.hidden_size
    matrix = query_matrix + model.hidden_size * down + mla.kv_lora_rank * up + out
    bias = model.qkv_bias * (mla.q_lora_rank + down) + model.attention_out_bias * model.hidden_size
    return Weights(matrix, query_norm + _norm(model, mla.kv_lora_rank) + bias)


def _ffn(model: ModelSpec, width: int) -> Weights:
    n_in = 2 if model.gated_ffn else 1
    bias = model.ffn_bias * (n_in * width + model.hidden_size) if width else 0
    return Weights((n_in + 1) * model.hidden_size * width, bias)


def _mixture(model: ModelSpec, moe: MoeSpec) -> tuple[Weights, Weights, Weights]:
    """Return the weights of router, shared experts and one routed expert."""
    gate = moe.shared_expert_gate * model.hidden_size
    router = Weights(model.hidden_size * moe.n_experts + gate, moe.router_bias * moe.n_experts)
    return router, _ffn(model, moe.shared_ffn_size), _ffn(model, moe.expert_ffn_size)


def _embedding(model: ModelSpec) -> int:
    rows = model.vocab_size + model.n_token_types
    if model.position == "learned":
        rows += model.max_positions
    other = model.embedding_norm * _norm(model, model.hidden_size)
    if model.patches is not None:  # a class token, and the bias of the patch projection
        rows += 2
        other += _patch_matrix(model)
    return rows * model.hidden_size + other


def _patch_matrix(model: ModelSpec) -> int:
    patches = model.patches
    if patches is None:
        return 0
    return patches.n_channels * patches.patch_size**2 * model.hidden_size


def _head(model: ModelSpec) -> Weights:
    width = model.hidden_size
    if model.patches is not None and model.patches.n_classes:
        return Weights(width * model.patches.n_classes, model.patches.n_classes)
    if not model.lm_head or not model.vocab_size:
        return Weights(0, 0)
    bias = model.head_bias * model.vocab_size
    return (
        Weights(width * model.vocab_size, bias)
        if not model.lm_head_transform
        else Weights(width * model.vocab_size, bias + width**2 + width + _norm(model, width))
    )
