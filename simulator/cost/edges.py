"""The embedding before the first layer, and the head with its loss after the last one."""

from __future__ import annotations

import numpy as np

from simulator.cost.collectives import all_reduce_s
from simulator.cost.exchange import tensor_pair_s
from simulator.cost.flops import head_weights
from simulator.cost.plan_table import FloatArray
from simulator.cost.setting import Setting
from simulator.cost.step_costs import LayerTime
from simulator.spec.model import ModelSpec

LOOKUP_VALUES = 4.0
"""Values of hidden width read or written to look up and place one token."""
LOSS_FORWARD_SHARE = 0.4
"""Share of the loss traffic in the forward pass."""
LOSS_SCALARS = 3.0
"""fp32 numbers per token that the vocabulary-parallel loss reduces: maximum, sum, target logit."""


def price_embedding(setting: Setting) -> tuple[LayerTime, LayerTime]:
    """Forward and backward of token embedding (or patches) for one microbatch.

    Vocabulary divided by tp: an all-reduce of the rows, or a reduce-scatter, and for the gradients
    an all-gather.
    """
    model, kernels = setting.model, setting.kernels
    traffic = LOOKUP_VALUES * kernels.value_bytes * setting.tokens * model.hidden_size
    compute_s = kernels.elementwise_s(traffic, LOOKUP_VALUES)
    if model.patches is not None:
        n_in = np.full(len(setting.table), 1.0 * patch_values(model))
        width = np.full(len(setting.table), 1.0 * model.hidden_size)
        compute_s = compute_s + kernels.gemm_s(setting.tokens, width, n_in, wide=True)
    half_pair_s = (1.0 - setting.software.overlap.tp) * tensor_pair_s(setting, wide=True) / 2.0
    return _only(compute_s, half_pair_s), _only(compute_s, half_pair_s)


def patch_values(model: ModelSpec) -> int:
    """Values of one image patch."""
    patches = model.patches
    return patches.n_channels * patches.patch_size**2 if patches is not None else 0


def price_head(setting: Setting) -> tuple[LayerTime, LayerTime]:
    """Forward and backward of final norm, output head and loss for one microbatch.

    The head stays in 16 bit. The vocabulary is divided by tp.
    """
    model, table, kernels = setting.model, setting.table, setting.kernels
    outputs = head_weights(model) / model.hidden_size
    if not outputs:
        zero = np.zeros(len(table))
        return _only(zero, zero), _only(zero, zero)
    local = outputs / table.tp
    width = np.full(len(table), 1.0 * model.hidden_size)
    matmul_s = kernels.gemm_s(setting.tokens, local, width, wide=True)
    matmul_backward_s = kernels.gemm_s(setting.tokens, width, local, wide=True)
    matmul_backward_s = matmul_backward_s + kernels.gemm_s(width, local, setting.tokens, wide=True)
    if kernels.work is not None:
        loss_s = kernels.work.head_s + setting.tokens * local * kernels.work.logit_s
    else:
        loss_bytes = setting.software.logits_traffic_bytes * setting.tokens * local
        loss_s = kernels.elementwise_s(loss_bytes, 5.0)
    group = setting.group("tp")
    scalars_s = all_reduce_s(4.0 * LOSS_SCALARS * setting.tokens, group)
    pair_s = (1.0 - setting.software.overlap.tp) * tensor_pair_s(setting, wide=True) / 2.0
    forward = _only(matmul_s + LOSS_FORWARD_SHARE * loss_s, pair_s + scalars_s)
    backward = _only(matmul_backward_s + (1.0 - LOSS_FORWARD_SHARE) * loss_s, pair_s)
    return forward, backward


def _only(compute_s: FloatArray, tp_s: FloatArray) -> LayerTime:
    zero = np.zeros_like(compute_s)
    return LayerTime(compute_s=compute_s, tp_s=tp_s, cp_s=zero, ep_s=zero)
