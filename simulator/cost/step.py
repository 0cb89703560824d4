"""The price list of a step: every pass, exchange and update of every plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.cost.contention import SharedLinks, link_contention
from simulator.cost.data_parallel import (
    SyncTimes,
    embedding_sync,
    head_sync,
    layer_sync,
    n_reductions,
    optimizer_s,
    reduces_every_microbatch,
)
from simulator.cost.edges import price_embedding, price_head
from simulator.cost.exchange import stage_transfer_s
from simulator.cost.groups import AxisName
from simulator.cost.host import busy_columns
from simulator.cost.launch import as_launched
from simulator.cost.layer import LayerPasses, price_layer
from simulator.cost.measured_kernels import Lookups
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.recompute import recompute_columns
from simulator.cost.setting import Setting
from simulator.cost.stages import StageLayers
from simulator.cost.step_costs import EdgeCosts, LayerCosts, LayerTime, StepCosts
from simulator.cost.unique import spread, unique_rows
from simulator.spec.cluster import Calibration, ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.profiles import OverlapProfile, SoftwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passes:
    """What depends on the microbatch and on how a layer is divided."""

    dense: LayerPasses
    moe: LayerPasses
    embedding: tuple[LayerTime, LayerTime]
    head: tuple[LayerTime, LayerTime]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Syncs:
    """What depends on the data-parallel mesh."""

    dense: SyncTimes
    moe: SyncTimes
    embedding: SyncTimes
    head: SyncTimes
    shared: SharedLinks


def price_step(
    model: ModelSpec,
    cluster: ClusterSpec,
    job: JobSpec,
    software: SoftwareProfile,
    table: PlanTable,
    lookups: Lookups | None = None,
    factors: Mapping[AxisName, float] | None = None,
) -> StepCosts:
    """Price every part of a step for all plans of a table.

    Kernel shapes that are priced are noted in `lookups`. `factors` say how much slower the links
    are for an axis than the closed form has them.

    Each part is computed for the distinct combinations of the decisions it depends on, and then
    spread over the plans.
    """
    software = as_launched(as_measured(software, cluster.calibration), job)
    setting = Setting.of(model, cluster, job, software, table, lookups, factors)
    passes = _price_passes(setting)
    syncs = _price_syncs(setting)
    dense = _layer(passes.dense, syncs.dense)
    p2p_s = _price_transfer(setting)
    meets = link_contention(syncs.shared, passes.moe.backward, p2p_s, model.n_layers, table)
    n = len(table)
    scale = cluster.calibration.step_scale if cluster.calibration is not None else 1.0
    growth = 1.0 + software.growth_per_doubling * np.log2(table.dp * table.cp)
    return StepCosts(
        dense=dense,
        moe=dense if model.moe is None else _layer(passes.moe, syncs.moe),
        embedding=_edge(passes.embedding, syncs.embedding),
        head=_edge(passes.head, syncs.head),
        p2p_s=p2p_s,
        p2p_overlap=np.where(table.virtual_stages > 1, software.overlap.pp, 0.0),
        dp_overlap=np.full(n, software.overlap.dp),
        gather_once_overlap=np.full(n, _gather_once_overlap(software.overlap)),
        dp_contention=np.minimum(software.dp_contention + meets, 1.0),
        gather_every_pass=1.0 * (table.zero_stage == 3),
        reduce_every_microbatch=reduces_every_microbatch(table).astype(np.float64),
        optimizer_s=_price_optimizer(setting),
        step_constant_s=np.full(n, software.step_constant_s),
        scale_factor=scale * growth,
    )


def _gather_once_overlap(overlap: OverlapProfile) -> float:
    return overlap.dp if overlap.dp_gather is None else overlap.dp_gather


def as_measured(software: SoftwareProfile, calibration: Calibration | None) -> SoftwareProfile:
    """Return the software as its exchanges were measured: what hides was never in them."""
    if calibration is None or not calibration.exchanges:
        return software
    none = OverlapProfile(tp=0.0, cp=0.0, ep=0.0, dp=0.0, pp=0.0)
    return software.model_copy(
        update={"overlap": none, "step_constant_s": 0.0, "growth_per_doubling": 0.0}
    )


def _price_passes(setting: Setting) -> _Passes:
    table = setting.table
    columns = (
        table.tp,
        table.sequence_parallel,
        table.cp,
        table.ep,
        table.microbatch_sequences,
        *recompute_columns(setting.model, table),
        table.n_ranks,
        setting.expert_tp,
        *busy_columns(setting.cluster, table),
    )
    subset, inverse = unique_rows(table, columns)
    distinct = setting.of_table(subset)
    dense = price_layer(distinct, mixture=False)
    passes = _Passes(
        dense=dense,
        moe=dense if setting.model.moe is None else price_layer(distinct, mixture=True),
        embedding=price_embedding(distinct),
        head=price_head(distinct),
    )
    return spread(passes, inverse)


def _price_syncs(setting: Setting) -> _Syncs:
    table = setting.table
    columns = (
        table.pp,
        table.v_shaped,
        table.dp_replicate,
        table.dp_shard,
        table.cp,
        table.tp,
        table.ep,
        setting.expert_tp,
        1 * (table.zero_stage > 0),
        np.where(table.dp_replicate > 1, n_reductions(table), 1),
    )
    subset, inverse = unique_rows(table, columns)
    distinct = setting.of_table(subset)
    dense = layer_sync(distinct, mixture=False)
    syncs = _Syncs(
        dense=dense,
        moe=dense if setting.model.moe is None else layer_sync(distinct, mixture=True),
        embedding=embedding_sync(distinct),
        head=head_sync(distinct),
        shared=SharedLinks.of(distinct),
    )
    return spread(syncs, inverse)


def _price_transfer(setting: Setting) -> FloatArray:
    table = setting.table
    columns = (
        table.pp,
        table.dp,
        table.cp,
        table.tp,
        table.sequence_parallel,
        table.microbatch_sequences,
        table.dp_shard * (setting.cluster.fabric.n_regions > 1),  # where stages of a copy lie
    )
    subset, inverse = unique_rows(table, columns)
    return stage_transfer_s(setting.of_table(subset))[inverse]


def _price_optimizer(setting: Setting) -> FloatArray:
    table = setting.table
    columns = (
        table.pp,
        table.virtual_stages,
        table.v_shaped,
        table.dp_shard,
        table.cp,
        table.tp,
        table.ep,
        setting.expert_tp,
        1 * (table.zero_stage > 0),
        table.n_ranks,
        *busy_columns(setting.cluster, table),
    )
    subset, inverse = unique_rows(table, columns)
    stages = StageLayers.of(setting.model, subset)
    return optimizer_s(setting.of_table(subset), stages)[inverse]


def _layer(passes: LayerPasses, sync: SyncTimes) -> LayerCosts:
    return LayerCosts(
        forward=passes.forward,
        backward=passes.backward,
        recompute=passes.recompute,
        reduce_s=sync.reduce_s,
        gather_s=sync.gather_s,
    )


def _edge(passes: tuple[LayerTime, LayerTime], sync: SyncTimes) -> EdgeCosts:
    forward, backward = passes
    return EdgeCosts(
        forward=forward, backward=backward, reduce_s=sync.reduce_s, gather_s=sync.gather_s
    )
