"""What one transformer layer multiplies: its linear maps, as data.

Time, parameters, memory and FLOPs are all sums over these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec

Split = Literal["out", "in", "none"]
"""Which width tensor parallelism divides."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One weight matrix, or several that are multiplied as one."""

    name: str
    n_in: int
    n_out: int
    split: Split

    @property
    def n_weights(self) -> int:
        """Elements of the matrix."""
        return self.n_in * self.n_out


def attention_linears(model: ModelSpec) -> tuple[Linear, ...]:
    """Linear maps around the attention core."""
    if model.mla is not None:
        return _latent_linears(model, model.mla)
    return (
        Linear("qkv", model.hidden_size, model.q_size + 2 * model.kv_size, "out"),
        Linear("attention_out", model.q_size, model.hidden_size, "in"),
    )


def _latent_linears(model: ModelSpec, mla: MlaSpec) -> tuple[Linear, ...]:
    """Low-rank queries, keys and values. DeepSeek-V2, arXiv 2405.04434, section 2.1."""
    hidden, heads = model.hidden_size, model.n_heads
    queries = heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    query_maps: tuple[Linear, ...]
    if mla.q_lora_rank:
        query_maps = (
            Linear("q_down", hidden, mla.q_lora_rank, "none"),
            Linear("q_up", mla.q_lora_rank, queries, "out"),
        )
    else:
        query_maps = (Linear("q", hidden, queries, "out"),)
    keys_and_values = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    return (
        *query_maps,
        Linear("kv_down", hidden, mla.kv_lora_rank + mla.qk_rope_head_dim, "none"),
        Linear("kv_up", mla.kv_lora_rank, keys_and_values, "out"),
        Linear("attention_out", heads * mla.v_head_dim, hidden, "in"),
    )


def feed_forward_linears(hidden_size: int, ffn_size: int, *, gated: bool) -> tuple[Linear, ...]:
    """Linear maps of a feed-forward network of inner width ffn_size; none for width 0."""
    if not ffn_size:
        return ()
    return (
        Linear("ffn_in", hidden_size, (1 + gated) * ffn_size, "out"),
        Linear("ffn_out", ffn_size, hidden_size, "in"),
    )


def dense_ffn_linears(model: ModelSpec) -> tuple[Linear, ...]:
    """The feed-forward network of a layer without experts."""
    return feed_forward_linears(model.hidden_size, model.ffn_size, gated=model.gated_ffn)


def shared_expert_linears(model: ModelSpec, moe: MoeSpec) -> tuple[Linear, ...]:
    """Router and shared experts: what every token of a mixture layer passes."""
    router = Linear("router", model.hidden_size, moe.n_experts, "none")
    shared = feed_forward_linears(model.hidden_size, moe.shared_ffn_size, gated=model.gated_ffn)
    return (router, *shared)


def expert_linears(model: ModelSpec, moe: MoeSpec) -> tuple[Linear, ...]:
    """One routed expert."""
    return feed_forward_linears(model.hidden_size, moe.expert_ffn_size, gated=model.gated_ffn)


def score_width(model: ModelSpec) -> int:
    """Width over all heads of queries x keys plus probabilities x values, per pair of positions."""
    return model.n_heads * int(sum(head_widths(model)))


def keys_per_query(sequence_length: int, window: int, *, causal: bool) -> float:
    """Mean number of positions that a position looks at."""
    if not causal:
        return float(sequence_length)
    span = min(window or sequence_length, sequence_length)
    return span - span * (span - 1.0) / (2.0 * sequence_length)


def head_widths(model: ModelSpec) -> tuple[float, float]:
    """Width of a query (or key) and of a value of one head."""
    if model.mla is not None:
        mla = model.mla
        return float(mla.qk_nope_head_dim + mla.qk_rope_head_dim), float(mla.v_head_dim)
    return float(model.head_dim), float(model.head_dim)


def query_key_value_sizes(model: ModelSpec) -> tuple[int, int, int]:
    """Widths over all heads of what the attention core reads: queries, keys, values."""
    if model.mla is not None:
        mla = model.mla
        queries = model.n_heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
        return queries, queries, model.n_heads * mla.v_head_dim
    return model.q_size, model.kv_size, model.kv_size


def n_weights(linears: tuple[Linear, ...]) -> int:
    """Elements of all matrices together."""
    return sum(linear.n_weights for linear in linears)


def final_norm_parameters(model: ModelSpec) -> int:
    """Parameters of the norm before the head."""
    return model.final_norm * model.hidden_size * (2 if model.norm == "layernorm" else 1)


def norm_parameters(model: ModelSpec) -> int:
    """Parameters of one layer that are not matrices: norms and biases."""
    per_norm = model.hidden_size * (2 if model.norm == "layernorm" else 1)
    total = 2 * per_norm + (2 * model.head_dim if model.qk_norm else 0)
    if model.mla is not None:
        total += model.mla.q_lora_rank + model.mla.kv_lora_rank
    if model.qkv_bias:
        total += model.q_size + 2 * model.kv_size
    if model.attention_out_bias:
        total += model.hidden_size
    if model.ffn_bias:
        total += (1 + model.gated_ffn) * model.ffn_size + model.hidden_size
    return total
