"""Bytes that a layer keeps for its backward pass, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.cost.layers import query_key_value_sizes
from simulator.cost.plan_table import FloatArray
from simulator.cost.recompute import group_layers, repeated, whole_share
from simulator.cost.setting import Setting
from simulator.spec.model import ModelSpec
from simulator.spec.recompute import Part

STATISTICS_BYTES = 4.0
"""The fp32 logarithm of the softmax sum that fused attention keeps per head."""
SCORE_BYTES = 5.0
"""Per score without fusion: softmax output, dropout mask and dropped-out scores.
Korthikanti et al., arXiv 2205.05198, section 4.1."""

GATHERED_GRADIENTS = 3.0
"""Tensors of whole sequences while a gated feed-forward network is differentiated: the gathered
gradient of its output, and those of its input from two matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerActivations:
    """Bytes of one layer and one microbatch on one rank."""

    kept_bytes: FloatArray
    """From its forward to its backward."""
    working_bytes: FloatArray
    """More while its backward runs, because recompute brings them back."""


def layer_activations(setting: Setting, *, mixture: bool) -> LayerActivations:
    """Return what one layer keeps under the plan's recompute, in the mean over the model's layers.

    Layers repeated whole keep their input, of a group only the first one's, and a backward brings a
    whole group back; the others keep what their repeated parts do not bring back.
    """
    model, table = setting.model, setting.table
    fused = setting.job.attention == "fused"
    everything = _attention_bytes(setting, fused=fused) + _ffn_bytes(setting, mixture=mixture)
    boundary = setting.kernels.value_bytes * model.hidden_size * _tokens(setting)
    boundary = np.minimum(boundary, everything)
    rest = everything - sum(
        repeated(table, part) * dropped(setting, mixture)
        for part, dropped in _DROPPED.items()
        if repeated(table, part).any()
    )
    whole, group = whole_share(model, table), group_layers(model, table)
    kept = whole * boundary / group + (1.0 - whole) * rest
    working = group * everything - np.where(whole > 0.0, boundary, rest)
    working = working + _gradient_bytes(setting, mixture=mixture) + _gathered_bytes(setting)
    return LayerActivations(kept_bytes=kept, working_bytes=working)


def _gradient_bytes(setting: Setting, *, mixture: bool) -> FloatArray:
    """Gradient of the input of the second feed-forward matrix, the widest that is alone."""
    model = setting.model
    width = float(model.ffn_size)
    if mixture and model.moe is not None:
        width = model.moe.shared_ffn_size + setting.routed_copies * model.moe.expert_ffn_size
    return setting.kernels.value_bytes * width / setting.table.tp * setting.tokens


def _gathered_bytes(setting: Setting) -> FloatArray:
    """Gathered gradients of one matrix's output, and of its input before they are reduced."""
    if not setting.software.memory.keeps_gathered_inputs:
        return np.zeros(len(setting.table))
    gathered = setting.kernels.value_bytes * (setting.tokens - _tokens(setting))
    return GATHERED_GRADIENTS * setting.model.hidden_size * gathered


def _tokens(setting: Setting) -> FloatArray:
    """Tokens of hidden width that a rank holds outside of the multiplications."""
    return setting.tokens / setting.sequence_share


def _norm_bytes(setting: Setting) -> FloatArray:
    """Input and output of one norm, and fp32 copies where the software keeps them.

    The output is what the next matrix reads; it is kept gathered, or gathered again (Korthikanti
    et al., arXiv 2205.05198, section 4.2.2).
    """
    value, memory = setting.kernels.value_bytes, setting.software.memory
    gathered = setting.tokens if memory.keeps_gathered_inputs else _tokens(setting)
    own = (value + 4.0 * memory.norm_copies) * _tokens(setting)
    return setting.model.hidden_size * (own + value * gathered)


def _branch_bytes(setting: Setting) -> FloatArray:
    """What attention and feed-forward network both have: a norm, and the mask of a dropout."""
    masks = (setting.job.dropout > 0) * setting.model.hidden_size * _tokens(setting)
    return _norm_bytes(setting) + masks


def _norm_outputs(setting: Setting, _mixture: bool) -> FloatArray:
    """Of both norms, all but the input."""
    inputs = setting.kernels.value_bytes * setting.model.hidden_size * _tokens(setting)
    return 2.0 * (_norm_bytes(setting) - inputs)


def _attention_bytes(setting: Setting, *, fused: bool) -> FloatArray:
    model, tp = setting.model, setting.table.tp
    value = setting.kernels.value_bytes
    queries, keys, values = query_key_value_sizes(model)
    per_token = value * (queries + keys + values + model.n_heads * _value_dim(model)) / tp
    if model.mla is not None:
        per_token = per_token + 2.0 * value * (model.mla.q_lora_rank + model.mla.kv_lora_rank)
    attention: FloatArray = _branch_bytes(setting) + per_token * setting.tokens
    return attention + _core_bytes(setting, fused=fused)


def _core_bytes(setting: Setting, *, fused: bool) -> FloatArray:
    """What the core keeps beside its queries, keys, values and output."""
    model = setting.model
    per_token = STATISTICS_BYTES * model.n_heads
    if not fused:
        per_token = SCORE_BYTES * setting.kernels.value_bytes / 2.0 * model.n_heads
        per_token = per_token * setting.job.sequence_length
    return per_token / setting.table.tp * setting.tokens


def _core_of_job(setting: Setting, _mixture: bool) -> FloatArray:
    return _core_bytes(setting, fused=setting.job.attention == "fused")


def _queries_keys_values(setting: Setting, _mixture: bool) -> FloatArray:
    widths = sum(query_key_value_sizes(setting.model))
    return setting.kernels.value_bytes * widths / setting.table.tp * setting.tokens


def _value_dim(model: ModelSpec) -> int:
    return model.head_dim if model.mla is None else model.mla.v_head_dim


def _ffn_bytes(setting: Setting, *, mixture: bool) -> FloatArray:
    """Norm, outputs of the first matrix and input of the second one."""
    inner = _dense_bytes(setting, mixture) + _mixture_bytes(setting, mixture)
    return _branch_bytes(setting) + inner


def _dense_bytes(setting: Setting, mixture: bool) -> FloatArray:
    return _inner_bytes(setting, 0 if mixture else setting.model.ffn_size)


def _inner_bytes(setting: Setting, ffn_size: int) -> FloatArray:
    """Inner values of a feed-forward network that all tokens pass."""
    widths = _inner_widths(setting)
    return setting.kernels.value_bytes * widths * ffn_size / setting.table.tp * setting.tokens


def _inner_widths(setting: Setting) -> float:
    return 2.0 + setting.model.gated_ffn + setting.software.memory.ffn_copies


def _mixture_bytes(setting: Setting, mixture: bool) -> FloatArray:
    """Router scores; permuted inputs, inner values and outputs of the experts; shared experts."""
    model, moe = setting.model, setting.model.moe
    if not mixture or moe is None:
        return np.zeros(len(setting.table))
    inner = _inner_widths(setting) * moe.expert_ffn_size
    routed = setting.routed_copies * (2.0 * model.hidden_size + inner)
    tokens = setting.tokens / setting.table.tp
    own = tokens * (setting.kernels.value_bytes * routed + 8.0 * moe.n_experts)
    return own + _shared_bytes(setting, mixture)


def _shared_bytes(setting: Setting, mixture: bool) -> FloatArray:
    moe = setting.model.moe
    return _inner_bytes(setting, moe.shared_ffn_size if mixture and moe is not None else 0)


def _activated_bytes(setting: Setting, mixture: bool) -> FloatArray:
    """Inputs of the experts' second matrices."""
    moe = setting.model.moe
    width = moe.expert_ffn_size if mixture and moe is not None else 0
    tokens = setting.tokens / setting.table.tp
    return setting.kernels.value_bytes * setting.routed_copies * width * tokens


def _dropped_by_selective(setting: Setting, mixture: bool) -> FloatArray:
    everything = _attention_bytes(setting, fused=True) + _ffn_bytes(setting, mixture=mixture)
    if setting.job.attention == "unfused":
        return _core_of_job(setting, mixture)
    boundary = setting.kernels.value_bytes * setting.model.hidden_size * _tokens(setting)
    return np.maximum(everything - boundary - _selective_bytes(setting, mixture=mixture), 0.0)


def _selective_bytes(setting: Setting, *, mixture: bool) -> FloatArray:
    """Attention output, and those outputs of matrix multiplications that are not repeated."""
    kept = 1.0 - setting.software.selective_matmul_share
    model, tp, value = setting.model, setting.table.tp, setting.kernels.value_bytes
    queries, keys, values = query_key_value_sizes(model)
    attention = model.n_heads * _value_dim(model)
    inner = (1.0 + model.gated_ffn) * model.ffn_size
    if mixture and model.moe is not None:
        moe = model.moe
        routed = setting.routed_copies * (1.0 + model.gated_ffn) * moe.expert_ffn_size
        inner = (1.0 + model.gated_ffn) * moe.shared_ffn_size + routed
    split = attention + kept * (queries + keys + values + inner)
    whole = kept * 2.0 * model.hidden_size
    return value * (split / tp * setting.tokens + whole * _tokens(setting))


_DROPPED: dict[Part, Callable[[Setting, bool], FloatArray]] = {
    "selective": _dropped_by_selective,
    "core-attn": _core_of_job,
    "layernorm": _norm_outputs,
    "mlp": _dense_bytes,
    "moe": _mixture_bytes,
    "moe-act": _activated_bytes,
    "shared-experts": _shared_bytes,
    "mla-up-proj": _queries_keys_values,
}
"""What a layer need not keep when a part is repeated: (setting, whether it has experts)."""
