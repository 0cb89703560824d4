"""The passes of one transformer layer over one microbatch: compute and what is exchanged in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.cost.attention import attention_passes_s
from simulator.cost.exchange import (
    Exchange,
    context_exchanges,
    expert_exchange,
    tensor_exchange,
)
from simulator.cost.experts import expert_passes
from simulator.cost.layers import (
    Linear,
    Split,
    attention_linears,
    dense_ffn_linears,
    n_weights,
    query_key_value_sizes,
    shared_expert_linears,
)
from simulator.cost.passes import (
    BACKWARD_TRAFFIC,
    HOST_FORWARD_SHARE,
    QUANTISE_BYTES,
    KernelTimes,
    eager_norm_bytes,
    linears_s,
)
from simulator.cost.plan_table import FloatArray, IntArray
from simulator.cost.repeated import repeated_time
from simulator.cost.setting import Setting
from simulator.cost.step_costs import LayerTime

HIDDEN_VALUES = 14.0
"""Values of hidden width that a token's forward reads or writes outside of the multiplications:
two norms, two residual additions, the inputs and outputs around them."""
DROPOUTS = 2.0
"""Behind attention and feed-forward network, each fused with the residual addition after it. A
forward writes the mask, a byte per value (Korthikanti et al., arXiv 2205.05198, section 4.1); a
backward reads it, and reads and writes the gradient of the branch, which otherwise is that of the
sum."""
KERNELS_PER_LAYER = 10.0
"""Memory-bound kernels of a fused forward."""


TINY_S = 1e-30
"""Stands for nothing in a division."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPasses:
    """Forward, backward and recompute of one kind of layer."""

    forward: LayerTime
    backward: LayerTime
    recompute: LayerTime


def price_layer(setting: Setting, *, mixture: bool) -> LayerPasses:
    """Price one layer; `mixture` has experts in place of the dense feed-forward network."""
    times = _kernel_times(setting, mixture=mixture)
    tp = tensor_exchange(setting, mixture=mixture)
    cp_forward, cp_backward = context_exchanges(setting)
    ep = expert_exchange(setting) if mixture else Exchange.of(np.zeros(len(setting.table)), 0.0)
    launch_s = setting.software.moe_launch_s if mixture else 0.0
    forward = with_exchanges(
        np.maximum(times.forward_s, HOST_FORWARD_SHARE * launch_s), tp, cp_forward, ep
    )
    backward = with_exchanges(
        np.maximum(times.backward_s, (1.0 - HOST_FORWARD_SHARE) * launch_s), tp, cp_backward, ep
    )
    return LayerPasses(
        forward=forward,
        backward=backward,
        recompute=repeated_time(setting, forward, times, mixture=mixture),
    )


def _kernel_times(setting: Setting, *, mixture: bool) -> KernelTimes:
    model = setting.model
    shared = attention_linears(model)
    if mixture and model.moe is not None:
        every_token = shared + shared_expert_linears(model, model.moe)
        routed = expert_passes(setting, model.moe)
        inner = model.moe.shared_ffn_size
    else:
        every_token = shared + dense_ffn_linears(model)
        routed = KernelTimes.zeros(len(setting.table))
        inner = model.ffn_size
    forward_s, backward_s = attention_passes_s(setting)
    element_forward_s, element_backward_s = _elementwise_s(setting, every_token, inner)
    matmul_s, matmul_backward_s = linears_s(setting, every_token)
    own = KernelTimes(
        matmul_s=matmul_s,
        matmul_backward_s=matmul_backward_s,
        attention_s=forward_s,
        attention_backward_s=backward_s,
        elementwise_s=element_forward_s,
        elementwise_backward_s=element_backward_s,
    )
    return own + routed


def _elementwise_s(
    setting: Setting, linears: tuple[Linear, ...], inner: int
) -> tuple[FloatArray, FloatArray]:
    """Norms, residuals, activation function, rotary embedding and casts."""
    model, software, table = setting.model, setting.software, setting.table
    kernels, tokens = setting.kernels, setting.tokens
    queries, keys, values = query_key_value_sizes(model)
    hidden = model.hidden_size / setting.sequence_share
    within = (
        (2.0 + 3.0 * model.gated_ffn) * inner + 2.0 * (queries + (keys + values) / 2)
    ) / table.tp
    values_moved = tokens * (HIDDEN_VALUES * hidden + within)
    if kernels.work is not None:
        forward_s = kernels.work.layer_s + values_moved * kernels.work.layer_value_s
        weights = n_weights(linears) / table.tp
        return forward_s, BACKWARD_TRAFFIC * forward_s + weights * kernels.work.weight_s
    ideal = kernels.value_bytes * values_moved
    forward_bytes = software.elementwise_factor * ideal + eager_norm_bytes(setting)
    backward_bytes = BACKWARD_TRAFFIC * forward_bytes
    if setting.job.dropout:
        masks = software.elementwise_factor * DROPOUTS * hidden * tokens
        forward_bytes = forward_bytes + masks
        backward_bytes = backward_bytes + masks * (1.0 + 2.0 * kernels.value_bytes)
    if kernels.quantised:
        inputs = _width(linears, "n_in", "in", table.tp)
        outputs = _width(linears, "n_out", "out", table.tp)
        forward_bytes = forward_bytes + QUANTISE_BYTES * tokens * inputs
        backward_bytes = backward_bytes + QUANTISE_BYTES * tokens * outputs
    n_kernels = KERNELS_PER_LAYER * software.elementwise_factor
    return (
        kernels.elementwise_s(forward_bytes, n_kernels),
        kernels.elementwise_s(backward_bytes, BACKWARD_TRAFFIC * n_kernels),
    )


def _width(
    linears: tuple[Linear, ...], side: Literal["n_in", "n_out"], split: Split, tp: IntArray
) -> FloatArray:
    """Values per token on one side of all linear maps, divided where they are split there."""
    total = np.zeros(len(tp))
    for linear in linears:
        total += getattr(linear, side) / (tp if linear.split == split else 1.0)
    return total


def with_exchanges(compute_s: FloatArray, tp: Exchange, cp: Exchange, ep: Exchange) -> LayerTime:
    """Put the exchanges of a pass beside its compute; what is longer than that shows."""
    beside_s = tp.beside_s + cp.beside_s + ep.beside_s
    late = np.maximum(beside_s - compute_s, 0.0) / np.maximum(beside_s, TINY_S)
    return LayerTime(
        compute_s=compute_s,
        tp_s=tp.alone_s + late * tp.beside_s,
        cp_s=cp.alone_s + late * cp.beside_s,
        ep_s=ep.alone_s + late * ep.beside_s,
    )
