"""The attention core: scores, softmax and weighted values, forward and backward."""

from __future__ import annotations

from simulator.cost.layers import head_widths, keys_per_query, score_width
from simulator.cost.plan_table import FloatArray
from simulator.cost.setting import Setting

UNFUSED_BACKWARD_RATIO = 2.0


def attention_passes_s(setting: Setting) -> tuple[FloatArray, FloatArray]:
    """Forward and backward time of the attention core of one layer, for one microbatch."""
    model, job, table = setting.model, setting.job, setting.table
    kernels = setting.kernels
    if job.attention == "unfused":
        forward_s = _unfused_forward_s(setting)
        return forward_s, UNFUSED_BACKWARD_RATIO * forward_s
    keys = keys_per_query(job.sequence_length, model.sliding_window, causal=model.causal)
    heads = table.microbatch_sequences * model.n_heads / table.tp
    return kernels.attention_s(heads, job.sequence_length / table.cp, keys, *head_widths(model))


def _unfused_forward_s(setting: Setting) -> FloatArray:
    """Two batched multiplications over all pairs, and the scores through memory.

    The narrow head dimension is not a saturation loss here: it shows as the scores' traffic.
    """
    model, job, table, kernels = setting.model, setting.job, setting.table, setting.kernels
    length = float(job.sequence_length)
    heads = table.microbatch_sequences * model.n_heads / (table.tp * table.cp)
    flops = 2.0 * heads * length**2 * score_width(model) / model.n_heads
    products_s = kernels.batched_gemm_s(flops, length)
    score_bytes = setting.software.unfused_score_bytes * kernels.value_bytes / 2.0
    return products_s + kernels.elementwise_s(heads * length**2 * score_bytes, 3.0)
