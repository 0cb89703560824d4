"""Routed experts: permutation, grouped multiplications and the host that launches them."""

from __future__ import annotations

import numpy as np

from simulator.cost.layers import expert_linears
from simulator.cost.passes import BACKWARD_TRAFFIC, QUANTISE_BYTES, KernelTimes
from simulator.cost.plan_table import FloatArray
from simulator.cost.setting import Setting
from simulator.spec.model import MoeSpec

PERMUTE_KERNELS = 12.0


def expert_passes(setting: Setting, moe: MoeSpec) -> KernelTimes:
    """Kernel times of the routed experts of one layer on one rank, for one microbatch.

    All ranks wait for the busiest one, which receives `expert_imbalance` times as many tokens as
    it sends, spread evenly over its experts.
    """
    model, table, kernels = setting.model, setting.table, setting.kernels
    tokens = routed_tokens(setting)
    per_expert = tokens * table.ep / moe.n_experts
    matmul_s = np.zeros(len(table))
    for linear in expert_linears(model, moe):
        n_in = linear.n_in / (setting.expert_tp if linear.split == "in" else 1.0)
        n_out = linear.n_out / (setting.expert_tp if linear.split == "out" else 1.0)
        matmul_s += kernels.grouped_gemm_s(moe.n_experts / table.ep, per_expert, n_out, n_in)
    narrow = moe.expert_ffn_size / setting.expert_tp
    wide = (1.0 + model.gated_ffn) * narrow
    inner = (2.0 + 3.0 * model.gated_ffn) * narrow
    permute = 4.0 * setting.software.permute_factor * model.hidden_size
    inner = inner * setting.software.elementwise_factor
    traffic = kernels.value_bytes * tokens * (inner + permute)
    backward = BACKWARD_TRAFFIC * traffic
    if kernels.quantised:
        traffic = traffic + QUANTISE_BYTES * tokens * (model.hidden_size + narrow)
        backward = backward + QUANTISE_BYTES * tokens * (model.hidden_size + wide)
    return KernelTimes(
        matmul_s=matmul_s,
        matmul_backward_s=2.0 * matmul_s,
        attention_s=np.zeros(len(table)),
        attention_backward_s=np.zeros(len(table)),
        elementwise_s=kernels.elementwise_s(traffic, PERMUTE_KERNELS),
        elementwise_backward_s=kernels.elementwise_s(backward, BACKWARD_TRAFFIC * PERMUTE_KERNELS),
    )


def routed_tokens(setting: Setting) -> FloatArray:
    """Tokens that the experts of the busiest rank receive, every copy counted."""
    tokens: FloatArray = (
        setting.tokens / setting.table.tp * setting.expert_tp * setting.routed_copies
    )
    return tokens
