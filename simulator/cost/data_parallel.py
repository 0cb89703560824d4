"""Gradient reduction, weight gathering and the optimizer: what data parallelism costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.cost.collectives import all_gather_s, all_reduce_s, p2p_s, reduce_scatter_s
from simulator.cost.groups import Group, world_group
from simulator.cost.layers import final_norm_parameters
from simulator.cost.measured_work import added_s
from simulator.cost.plan_table import BoolArray, FloatArray, IntArray, PlanTable
from simulator.cost.setting import Setting
from simulator.cost.shares import (
    RankParameters,
    embedding_parameters,
    head_parameters,
    layer_parameters,
)
from simulator.cost.stages import StageLayers
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec

NORM_AND_LOSS_BYTES = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTimes:
    """Collectives of some parameters over the data-parallel ranks."""

    reduce_s: FloatArray
    gather_s: FloatArray


def gradient_bytes(job: JobSpec) -> float:
    """One gradient value as it is kept and reduced."""
    return 4.0 if job.gradient_dtype == "fp32" or job.precision is Precision.FP32 else 2.0


def weight_bytes(job: JobSpec) -> float:
    """One weight as the passes read it."""
    return 4.0 if job.precision is Precision.FP32 else 2.0


def state_bytes(job: JobSpec) -> float:
    """Optimizer state of one parameter: moments, and the fp32 master copy of a 16-bit weight."""
    moments = {"adamw": 8.0, "sgd": 4.0}[job.optimizer]
    return moments + (0.0 if job.precision is Precision.FP32 else 4.0)


def layer_sync(setting: Setting, *, mixture: bool) -> SyncTimes:
    """Synchronisation of one layer."""
    return _sync(
        setting, layer_parameters(setting.model, setting.table, setting.expert_tp, mixture=mixture)
    )


def embedding_sync(setting: Setting) -> SyncTimes:
    """Synchronisation of the embedding."""
    table = setting.table
    common = embedding_parameters(setting.model, table)
    return _sync(setting, RankParameters(common=common, routed=np.zeros(len(table))))


def head_sync(setting: Setting) -> SyncTimes:
    """Synchronisation of the head.

    A tied head on the last stage is the embedding's copy: their gradients are added between the
    two stages. On the embedding's rank it is the embedding itself.
    """
    model, table = setting.model, setting.table
    common = head_parameters(model, table)
    separate = _apart(table) if model.tied_embeddings else np.ones(len(table))
    held = separate * common + final_norm_parameters(model)
    copy = _sync(setting, RankParameters(common=held, routed=np.zeros(len(table))))
    if not model.tied_embeddings:
        return copy
    group = setting.group("pp")
    tie_s = p2p_s(common * gradient_bytes(setting.job), group)
    return SyncTimes(reduce_s=copy.reduce_s + separate * tie_s, gather_s=copy.gather_s)


def _apart(table: PlanTable) -> FloatArray:
    """1 where embedding and head are on different ranks."""
    apart: FloatArray = 1.0 * ((table.pp > 1) & (table.v_shaped == 0))
    return apart


def _sync(setting: Setting, parameters: RankParameters) -> SyncTimes:
    """All-reduce without sharding; with it reduce-scatter, all-reduce of copies and all-gather."""
    shard_group = setting.group("dp_shard_cp")
    copies = setting.group("dp_replicate")
    everyone = setting.group("dp")
    common = _group_sync(setting, parameters.common, shard_group, copies, everyone)
    if setting.model.moe is None:
        return common
    holders = setting.group("expert_dp")
    routed = _group_sync(setting, parameters.routed, holders, None, holders)
    return SyncTimes(
        reduce_s=common.reduce_s + routed.reduce_s, gather_s=common.gather_s + routed.gather_s
    )


def _group_sync(
    setting: Setting, n_parameters: FloatArray, shards: Group, copies: Group | None, everyone: Group
) -> SyncTimes:
    """Collectives of some parameters, bucket by bucket.

    Copies that exchange every H steps (`sync_every_steps`) pay 1/H of it per step. They add up
    their shards once a step where shards are reduced for every microbatch; each microbatch has its
    part of that.
    """
    every = setting.job.sync_every_steps
    gradients = n_parameters * gradient_bytes(setting.job)
    weights = n_parameters * weight_bytes(setting.job)
    sharded = setting.table.zero_stage > 0
    split_s = _in_buckets(setting, reduce_scatter_s, gradients, shards)
    split_s = split_s + added_s("shard-reduce", gradients, shards)
    if copies is not None:
        copies_s = _in_buckets(setting, all_reduce_s, gradients / shards.size, copies)
        split_s = split_s + copies_s / (every * n_reductions(setting.table))
    whole_s = _in_buckets(setting, all_reduce_s, gradients, everyone)
    whole_s = whole_s + added_s("replica-reduce", gradients, everyone)
    gather_s = _in_buckets(setting, all_gather_s, weights, shards)
    gather_s = gather_s + added_s("shard-gather", weights, shards)
    return SyncTimes(
        reduce_s=np.where(sharded, split_s, whole_s / every),
        gather_s=np.where(sharded, gather_s, 0.0),
    )


def reduces_every_microbatch(table: PlanTable) -> BoolArray:
    """Whether shards of gradients are reduced after every microbatch: FSDP without a pipeline."""
    every: BoolArray = (table.zero_stage >= 2) & (table.pp == 1)
    return every


def n_reductions(table: PlanTable) -> IntArray:
    """Reductions of a shard in one step; shape (n,)."""
    return np.where(reduces_every_microbatch(table), table.n_microbatches, 1)


def _in_buckets(
    setting: Setting,
    collective: Callable[[FloatArray, Group], FloatArray],
    message_bytes: FloatArray,
    group: Group,
) -> FloatArray:
    bucket = setting.software.bucket_bytes
    n_buckets = np.maximum(message_bytes / bucket, 1.0) if bucket else 1.0
    return n_buckets * collective(message_bytes / n_buckets, group)


def _agreement_s(setting: Setting) -> FloatArray:
    """All ranks agree on loss and gradient norm: one small all-reduce."""
    group = world_group(setting.cluster, setting.table)
    return all_reduce_s(np.full(len(setting.table), NORM_AND_LOSS_BYTES), group)


def stage_parameters(setting: Setting, stages: StageLayers) -> RankParameters:
    """Parameters on one rank of the first, middle and last stage; shape (n, 3)."""
    model, table = setting.model, setting.table
    dense = layer_parameters(model, table, setting.expert_tp, mixture=False)
    moe = layer_parameters(model, table, setting.expert_tp, mixture=True)
    head = head_parameters(model, table)
    if model.tied_embeddings:
        head = head * _apart(table)
    head = head + final_norm_parameters(model)
    common = (
        stages.dense * dense.common[:, None]
        + stages.moe * moe.common[:, None]
        + stages.embedding * embedding_parameters(model, table)[:, None]
        + (stages.heads > 0) * head[:, None]
    )
    return RankParameters(common=common, routed=stages.moe * moe.routed[:, None])


def owned_parameters(setting: Setting, parameters: RankParameters) -> FloatArray:
    """Parameters whose optimizer state the rank holds; shape of `parameters`."""
    table = setting.table
    sharded = table.zero_stage > 0
    common = np.where(sharded, table.dp_shard * table.cp, 1.0)
    copies = table.dp_shard * table.cp * table.tp / (table.ep * setting.expert_tp)
    routed = np.where(sharded, np.maximum(copies, 1.0), 1.0)
    return parameters.common / common[:, None] + parameters.routed / routed[:, None]


def optimizer_s(setting: Setting, stages: StageLayers) -> FloatArray:
    """Update of the fullest rank: gradient norm, then one pass over gradients and state.

    Gradients are read twice (norm and update), the state is read and written, the weight written.
    """
    job = setting.job
    owned = owned_parameters(setting, stage_parameters(setting, stages)).max(axis=1)
    work = setting.kernels.work
    if work is not None:
        update_s: FloatArray = work.update_s + owned * work.parameter_s + _agreement_s(setting)
        return update_s
    traffic = 2.0 * gradient_bytes(job) + 2.0 * state_bytes(job) + 2.0 * weight_bytes(job)
    return setting.kernels.memory_s(owned * traffic)
