"""What ranks exchange inside a layer and between stages, as far as nothing hides it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.cost.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    p2p_s,
    reduce_scatter_s,
)
from simulator.cost.layers import query_key_value_sizes
from simulator.cost.measured_work import added_s
from simulator.cost.plan_table import BoolArray, FloatArray
from simulator.cost.setting import Setting

P2P_FACTOR = 2.0
"""Measured time of a stage-to-stage transfer over bytes / bandwidth."""


class Exchange(NamedTuple):
    """Communication of one pass of a layer, in seconds."""

    alone_s: FloatArray
    """Which nothing hides."""
    beside_s: FloatArray
    """Which runs beside compute where there is enough of it."""

    @classmethod
    def of(cls, total_s: FloatArray, overlap: float) -> Exchange:
        """Divide it by the share that the software overlaps."""
        return cls((1.0 - overlap) * total_s, overlap * total_s)


def activation_bytes(setting: Setting) -> FloatArray:
    """One hidden state of a microbatch on a context-parallel rank, not divided by tp."""
    return setting.tokens * setting.model.hidden_size * setting.kernels.value_bytes


def tensor_pair_s(setting: Setting, *, wide: bool = False) -> FloatArray:
    """Collectives of one column-parallel and one row-parallel linear map, in one direction.

    One all-reduce, or with sequence parallelism an all-gather and a reduce-scatter.
    Korthikanti et al., arXiv 2205.05198, section 4.2. What is gathered goes into a multiplication
    and may have its narrow format, unless that is `wide`; sums keep theirs.
    """
    message = activation_bytes(setting)
    gathered = message * (1.0 if wide else _gathered_share(setting))
    gather_s = all_gather_s(gathered, setting.group("tp")) + _added_s(setting) / 2.0
    return setting.table.sequence_parallel * gather_s + tensor_sum_s(setting)


def tensor_sum_s(setting: Setting) -> FloatArray:
    """The second half of a pair: the sum over tensor-parallel ranks."""
    group, message = setting.group("tp"), activation_bytes(setting)
    whole_s = all_reduce_s(message, group) + added_s("tensor", message, group)
    split_s = reduce_scatter_s(message, group) + _added_s(setting) / 2.0
    sequence = setting.table.sequence_parallel
    return (1 - sequence) * whole_s + sequence * split_s


def _added_s(setting: Setting) -> FloatArray | float:
    """What was measured to come to a pair with sequence parallelism."""
    return added_s("sequence", activation_bytes(setting), setting.group("tp"))


def repeats_last_sum(setting: Setting, *, mixture: bool) -> BoolArray:
    """Whether a layer that is repeated whole repeats its last tensor-parallel sum too; shape (n,).

    Software that stops early does where a gradient needs the result: that of a gate, or of the
    weights by which routed results are added.
    """
    table, moe = setting.table, setting.model.moe
    if not setting.software.stops_recompute_early:
        return np.ones(len(table), dtype=bool)
    if not mixture or moe is None:
        return np.zeros(len(table), dtype=bool)
    return (table.ep > 1) & (moe.shared_ffn_size == 0) | moe.shared_expert_gate


def _gathered_share(setting: Setting) -> float:
    """Bytes of a gathered value over those of a stored one."""
    narrow = setting.kernels.quantised and setting.software.gathers_narrow
    return 1.0 / setting.kernels.value_bytes if narrow else 1.0


def tensor_exchange(setting: Setting, *, mixture: bool) -> Exchange:
    """Tensor-parallel collectives of one pass of a layer.

    Attention and feed-forward network need one pair each, shared experts too. Experts that are
    divided by tp need one for every copy of a token (for every token where they are all here), and
    nothing hides it.
    """
    pair_s, overlap = tensor_pair_s(setting), setting.software.overlap.tp
    moe = setting.model.moe
    if not mixture or moe is None:
        return Exchange.of(2.0 * pair_s, overlap)
    copies = np.where(setting.table.ep > 1, moe.top_k, 1.0) * (setting.expert_tp > 1)
    common = Exchange.of((1.0 + (moe.shared_ffn_size > 0)) * pair_s, overlap)
    return common._replace(alone_s=common.alone_s + copies * pair_s)


def context_exchanges(setting: Setting) -> tuple[Exchange, Exchange]:
    """Ring exchange of keys and values: forward, and backward with their gradients.

    Ring Attention, arXiv 2310.01889: cp - 1 steps, each passing on one rank's keys and values.
    """
    table = setting.table
    steps_s = (table.cp - 1.0) * p2p_s(context_message(setting), setting.group("cp"))
    overlap = setting.software.overlap.cp
    return Exchange.of(steps_s, overlap), Exchange.of(2.0 * steps_s, overlap)


def context_message(setting: Setting) -> FloatArray:
    """Keys and values of one rank, which every step of the ring passes on."""
    _, keys, values = query_key_value_sizes(setting.model)
    per_token = (keys + values) / setting.table.tp * setting.kernels.value_bytes
    return setting.tokens * per_token


def expert_exchange(setting: Setting) -> Exchange:
    """All-to-all of one pass of a mixture layer: tokens to their experts and back.

    It takes as long as the rank that receives the most.
    """
    moe = setting.model.moe
    if moe is None:
        return Exchange.of(0.0 * setting.tokens, 0.0)
    message = expert_message(setting) * setting.job.expert_imbalance
    group = setting.group("ep")
    there_and_back_s = 2.0 * all_to_all_s(message, group, moe.top_k, moe.most_nodes)
    return Exchange.of(there_and_back_s, setting.software.overlap.ep)


def expert_message(setting: Setting) -> FloatArray:
    """A copy of every token of the rank for each of its experts, on the way there or back."""
    n_copies = setting.model.moe.top_k if setting.model.moe is not None else 0.0
    return activation_bytes(setting) / setting.table.tp * n_copies


def stage_message(setting: Setting) -> FloatArray:
    """One activation on its way to the next stage: the share of a tensor-parallel rank, where it
    has only that (sequence parallelism) or sends only that.
    """
    scattered = setting.software.scatters_transfers | (setting.table.sequence_parallel == 1)
    return activation_bytes(setting) / np.where(scattered, setting.table.tp, 1)


def stage_transfer_s(setting: Setting) -> FloatArray:
    """One activation from a pipeline stage to the next."""
    group = setting.group("pp")
    message = stage_message(setting)
    factor = 1.0 if group.exchanges else P2P_FACTOR
    return factor * p2p_s(message, group) + added_s("stage", message, group)
