"""Memory that a rank holds at its peak, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.activations import layer_activations
from simulator.cost.data_parallel import (
    gradient_bytes,
    owned_parameters,
    stage_parameters,
    state_bytes,
    weight_bytes,
)
from simulator.cost.flops import head_weights
from simulator.cost.in_flight import in_flight
from simulator.cost.layers import attention_linears, dense_ffn_linears
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.setting import Setting
from simulator.cost.shares import RankParameters, layer_parameters
from simulator.cost.stages import StageLayers
from simulator.cost.unique import spread, unique_rows
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import MemoryBreakdown
from simulator.spec.profiles import SoftwareProfile

GATHERED_LAYERS = 2.0
"""Layers whose gathered weights and gradients are held at once: this one and the prefetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTable:
    """Peak bytes by kind for some stages of every plan; arrays of shape (n, stages)."""

    weights_bytes: FloatArray
    gradients_bytes: FloatArray
    optimizer_bytes: FloatArray
    activations_bytes: FloatArray
    logits_bytes: FloatArray
    buffers_bytes: FloatArray
    framework_bytes: FloatArray

    @property
    def stage_bytes(self) -> FloatArray:
        """Peak of every stage; shape (n, stages)."""
        total: FloatArray = sum(getattr(self, field.name) for field in fields(self))
        return total

    @property
    def peak_bytes(self) -> FloatArray:
        """Peak of the fullest stage; shape (n,)."""
        peak: FloatArray = self.stage_bytes.max(axis=1)
        return peak


def memory_held(
    model: ModelSpec,
    cluster: ClusterSpec,
    job: JobSpec,
    software: SoftwareProfile,
    table: PlanTable,
    stages: StageLayers | None = None,
) -> MemoryTable:
    """Return what the first, heaviest middle and last stage of every plan hold.

    `stages` replaces these three, or the even division of the layers.
    """
    setting = Setting.of(model, cluster, job, software, table)
    if stages is None:
        states = _distinct_states(setting)
        stages = StageLayers.of(model, table)
    else:
        states = _states(setting, stages)
    passes = _distinct_passes(setting)
    held = in_flight(table, stages.rank)
    kept = stages.dense * passes.dense_kept_bytes[:, None]
    kept = kept + stages.moe * passes.moe_kept_bytes[:, None]
    working = np.where(
        stages.moe > 0, passes.moe_working_bytes[:, None], passes.dense_working_bytes[:, None]
    )
    activations = held * kept + working
    logits = (stages.heads > 0) * passes.logits_bytes[:, None]
    mask = software.mask_bytes * job.sequence_length**2 * table.microbatch_sequences
    buffers = states.buffers_bytes + mask[:, None]
    tensors = states.total_bytes + activations + logits + mask[:, None]
    return MemoryTable(
        weights_bytes=states.weights_bytes,
        gradients_bytes=states.gradients_bytes,
        optimizer_bytes=states.optimizer_bytes,
        activations_bytes=activations,
        logits_bytes=logits,
        buffers_bytes=buffers,
        framework_bytes=_framework_bytes(cluster, software) + software.fragmentation * tensors,
    )


def memory_breakdown(
    model: ModelSpec,
    cluster: ClusterSpec,
    job: JobSpec,
    software: SoftwareProfile,
    plan: PlanSpec,
) -> tuple[MemoryBreakdown, ...]:
    """Return what each pipeline stage of one plan holds."""
    stages = StageLayers.all_of_plan(model, plan)
    table = PlanTable.of([plan])
    held = memory_held(model, cluster, job, software, table, stages)
    return tuple(
        MemoryBreakdown(
            stage=stage,
            **{field.name: float(getattr(held, field.name)[0, stage]) for field in fields(held)},
        )
        for stage in range(plan.pp)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _States:
    """What depends on the mesh and on the layers of a stage; arrays of shape (n, stages)."""

    weights_bytes: FloatArray
    gradients_bytes: FloatArray
    optimizer_bytes: FloatArray
    buffers_bytes: FloatArray
    total_bytes: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passes:
    """What depends on the microbatch; arrays of shape (n,)."""

    dense_kept_bytes: FloatArray
    dense_working_bytes: FloatArray
    moe_kept_bytes: FloatArray
    moe_working_bytes: FloatArray
    logits_bytes: FloatArray


def _distinct_states(setting: Setting) -> _States:
    table = setting.table
    columns = (
        table.pp,
        table.virtual_stages,
        table.dp_shard,
        table.dp_replicate,
        table.cp,
        table.tp,
        table.ep,
        setting.expert_tp,
        table.zero_stage,
    )
    subset, inverse = unique_rows(table, columns)
    stages = StageLayers.of(setting.model, subset)
    return spread(_states(setting.of_table(subset), stages), inverse)


def _distinct_passes(setting: Setting) -> _Passes:
    table = setting.table
    columns = (
        table.tp,
        table.sequence_parallel,
        table.cp,
        table.ep,
        setting.expert_tp,
        table.microbatch_sequences,
        table.recompute,
    )
    subset, inverse = unique_rows(table, columns)
    distinct = setting.of_table(subset)
    model = setting.model
    dense = layer_activations(distinct, mixture=False)
    moe = dense if model.moe is None else layer_activations(distinct, mixture=True)
    outputs = head_weights(model) / model.hidden_size / subset.tp
    passes = _Passes(
        dense_kept_bytes=dense.kept_bytes,
        dense_working_bytes=dense.working_bytes,
        moe_kept_bytes=moe.kept_bytes,
        moe_working_bytes=moe.working_bytes,
        logits_bytes=setting.software.logits_bytes * distinct.tokens * outputs,
    )
    return spread(passes, inverse)


def _states(setting: Setting, stages: StageLayers) -> _States:
    """Weights, gradients and optimizer state under each ZeRO stage, and gathered copies.

    ZeRO, arXiv 1910.02054: stage 1 divides the optimizer state, 2 also the gradients, 3 also the
    weights. Gradients that several microbatches of a pipeline add to stay whole.
    """
    job, zero = setting.job, setting.table.zero_stage[:, None]
    whole = stage_parameters(setting, stages)
    n_whole = whole.common + whole.routed
    n_owned = owned_parameters(setting, whole)
    reduced_at_once = (zero >= 2) & (setting.table.pp[:, None] == 1)
    weights = weight_bytes(job) * np.where(zero == 3, n_owned, n_whole)
    gradients = gradient_bytes(job) * np.where(reduced_at_once, n_owned, n_whole)
    optimizer = state_bytes(job) * n_owned
    buffers = np.where(
        zero >= 2, _gathered_bytes(setting, stages), _widest_gradient_bytes(setting)[:, None]
    )
    return _States(
        weights_bytes=weights,
        gradients_bytes=gradients,
        optimizer_bytes=optimizer,
        buffers_bytes=buffers,
        total_bytes=weights + gradients + optimizer + buffers,
    )


def _gathered_bytes(setting: Setting, stages: StageLayers) -> FloatArray:
    """Whole weights and gradients of the layers that are being worked on."""
    table, job = setting.table, setting.job
    layer = _heaviest_layer(setting, stages)
    whole = weight_bytes(job) * (table.zero_stage == 3) + gradient_bytes(job) * (table.pp == 1)
    gathered: FloatArray = GATHERED_LAYERS * whole[:, None] * layer
    return gathered


def _heaviest_layer(setting: Setting, stages: StageLayers) -> FloatArray:
    def parameters(*, mixture: bool) -> FloatArray:
        held: RankParameters = layer_parameters(
            setting.model, setting.table, setting.expert_tp, mixture=mixture
        )
        return held.common + held.routed

    dense = (stages.dense > 0) * parameters(mixture=False)[:, None]
    heaviest: FloatArray = np.maximum(dense, (stages.moe > 0) * parameters(mixture=True)[:, None])
    return heaviest


def _widest_gradient_bytes(setting: Setting) -> FloatArray:
    """The gradient of the widest matrix, before it is added to the kept one."""
    model = setting.model
    linears = attention_linears(model) + dense_ffn_linears(model)
    widest = max(linear.n_weights for linear in linears)
    return gradient_bytes(setting.job) * widest / setting.table.tp


def _framework_bytes(cluster: ClusterSpec, software: SoftwareProfile) -> float:
    """What a rank holds before any tensor: measured where the cluster was calibrated."""
    calibration = cluster.calibration
    if calibration is not None and calibration.process_memory_bytes:
        return calibration.process_memory_bytes
    return software.framework_bytes
