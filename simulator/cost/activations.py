"""Bytes that a layer keeps for its backward pass, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.layers import query_key_value_sizes
from simulator.cost.plan_table import RECOMPUTES, FloatArray
from simulator.cost.setting import Setting
from simulator.spec.model import ModelSpec, MoeSpec

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
    """Return what one layer keeps, by recompute kind."""
    table = setting.table
    everything = _attention_bytes(setting, fused=setting.job.attention == "fused")
    everything = everything + _ffn_bytes(setting, mixture=mixture)
    boundary = setting.kernels.value_bytes * setting.model.hidden_size * _tokens(setting)
    if setting.job.attention == "fused":
        selective = boundary + _selective_bytes(setting, mixture=mixture)
    else:
        selective = _attention_bytes(setting, fused=True) + _ffn_bytes(setting, mixture=mixture)
    kept = np.select(
        [
            table.recompute == RECOMPUTES.index("none"),
            table.recompute == RECOMPUTES.index("selective"),
        ],
        [everything, np.minimum(selective, everything)],
        np.minimum(boundary, everything),
    )
    working = everything - kept + _gradient_bytes(setting, mixture=mixture)
    working = working + _gathered_bytes(setting)
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


def _attention_bytes(setting: Setting, *, fused: bool) -> FloatArray:
    model, tp = setting.model, setting.table.tp
    value = setting.kernels.value_bytes
    queries, keys, values = query_key_value_sizes(model)
    per_token = value * (queries + keys + values + model.n_heads * _value_dim(model)) / tp
    if model.mla is not None:
        per_token = per_token + 2.0 * value * (model.mla.q_lora_rank + model.mla.kv_lora_rank)
    if fused:
        per_token = per_token + STATISTICS_BYTES * model.n_heads / tp
    else:
        scores = SCORE_BYTES * value / 2.0 * model.n_heads * setting.job.sequence_length
        per_token = per_token + scores / tp
    return _norm_bytes(setting) + per_token * setting.tokens


def _value_dim(model: ModelSpec) -> int:
    return model.head_dim if model.mla is None else model.mla.v_head_dim


def _ffn_bytes(setting: Setting, *, mixture: bool) -> FloatArray:
    """Norm, outputs of the first matrix and input of the second one."""
    model, tp, value = setting.model, setting.table.tp, setting.kernels.value_bytes
    widths = 2.0 + model.gated_ffn + setting.software.memory.ffn_copies
    if not mixture or model.moe is None:
        return _norm_bytes(setting) + value * widths * model.ffn_size / tp * setting.tokens
    moe = model.moe
    shared = value * widths * moe.shared_ffn_size / tp * setting.tokens
    return _norm_bytes(setting) + shared + _routed_bytes(setting, moe)


def _routed_bytes(setting: Setting, moe: MoeSpec) -> FloatArray:
    """Router scores; permuted inputs, inner values and outputs of the experts."""
    model, value = setting.model, setting.kernels.value_bytes
    tokens = setting.tokens / setting.table.tp
    inner = (2.0 + model.gated_ffn + setting.software.memory.ffn_copies) * moe.expert_ffn_size
    routed = value * setting.routed_copies * (2.0 * model.hidden_size + inner)
    return tokens * (routed + 8.0 * moe.n_experts)


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
