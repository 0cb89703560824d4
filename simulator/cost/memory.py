"""Memory that a rank holds at its peak, tensor by tensor.

Two moments of a step can be the fullest: the first backward pass, when a stage holds the
activations of all its microbatches in flight, and the update, when the optimizer needs temporaries.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.activations import layer_activations
from simulator.cost.communicators import communicator_bytes
from simulator.cost.flops import head_weights
from simulator.cost.in_flight import in_flight, losses_in_flight
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.recompute import recompute_columns
from simulator.cost.setting import Setting
from simulator.cost.stages import StageLayers
from simulator.cost.states import ModelStates, model_states
from simulator.cost.unique import spread, unique_rows
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import MemoryBreakdown
from simulator.spec.profiles import SoftwareProfile

SAVED_LOGIT_BYTES = 4.0
"""The fp32 softmax that the loss keeps for its backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTable:
    """Bytes by kind, at the fullest moment, for some stages of every plan; shape (n, stages)."""

    weights_bytes: FloatArray
    gradients_bytes: FloatArray
    optimizer_bytes: FloatArray
    activations_bytes: FloatArray
    logits_bytes: FloatArray
    buffers_bytes: FloatArray
    fragmentation_bytes: FloatArray
    communicators_bytes: FloatArray
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

    @property
    def reserved_bytes(self) -> FloatArray:
        """Peak of what the allocator of the fullest stage reserves; shape (n,)."""
        reserved: FloatArray = (self.stage_bytes - self._outside_bytes).max(axis=1)
        return reserved

    @property
    def allocated_bytes(self) -> FloatArray:
        """Peak of the tensors of the fullest stage; shape (n,)."""
        beside = self._outside_bytes + self.fragmentation_bytes
        allocated: FloatArray = (self.stage_bytes - beside).max(axis=1)
        return allocated

    @property
    def _outside_bytes(self) -> FloatArray:
        return self.framework_bytes + self.communicators_bytes


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
        states = model_states(setting, stages)
    passes = pass_bytes(setting)
    held = in_flight(table, stages.rank)
    kept = stages.dense * passes.dense_kept_bytes[:, None]
    kept = kept + stages.moe * passes.moe_kept_bytes[:, None]
    working = np.where(
        stages.moe > 0, passes.moe_working_bytes[:, None], passes.dense_working_bytes[:, None]
    )
    activations = held * kept + working
    logits = (stages.heads > 0) * _held_logits_bytes(passes, table)[:, None]
    in_pass = activations + logits + states.pass_buffers_bytes
    updates = states.update_buffers_bytes > in_pass
    workspace = software.memory.workspace_bytes
    buffers = np.where(updates, states.update_buffers_bytes, states.pass_buffers_bytes) + workspace
    tensors = states.kept_bytes + np.maximum(in_pass, states.update_buffers_bytes) + workspace
    return MemoryTable(
        weights_bytes=states.weights_bytes,
        gradients_bytes=states.gradients_bytes,
        optimizer_bytes=states.optimizer_bytes,
        activations_bytes=np.where(updates, 0.0, activations),
        logits_bytes=np.where(updates, 0.0, logits),
        buffers_bytes=buffers,
        fragmentation_bytes=software.memory.fragmentation * tensors + states.holes_bytes,
        communicators_bytes=_every_stage(communicators_bytes(cluster, software, table), tensors),
        framework_bytes=np.full(tensors.shape, framework_bytes(cluster, software)),
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
class PassBytes:
    """What depends on the microbatch; arrays of shape (n,)."""

    dense_kept_bytes: FloatArray
    dense_working_bytes: FloatArray
    moe_kept_bytes: FloatArray
    moe_working_bytes: FloatArray
    logits_bytes: FloatArray
    """While a loss is differentiated."""
    saved_logits_bytes: FloatArray
    """Of these, from the forward on."""


def _distinct_states(setting: Setting) -> ModelStates:
    table = setting.table
    columns = (
        table.pp,
        table.virtual_stages,
        table.v_shaped,
        table.dp_shard,
        table.dp_replicate,
        table.cp,
        table.tp,
        table.ep,
        setting.expert_tp,
        table.zero_stage,
        1 * (table.n_microbatches > 1),
    )
    subset, inverse = unique_rows(table, columns)
    stages = StageLayers.of(setting.model, subset)
    return spread(model_states(setting.of_table(subset), stages), inverse)


def pass_bytes(setting: Setting) -> PassBytes:
    """Return what layers and logits of one microbatch hold, for every plan."""
    table = setting.table
    columns = (
        table.tp,
        table.sequence_parallel,
        table.cp,
        table.ep,
        setting.expert_tp,
        table.microbatch_sequences,
        *recompute_columns(setting.model, table),
    )
    subset, inverse = unique_rows(table, columns)
    distinct = setting.of_table(subset)
    memory = setting.software.memory
    dense = layer_activations(distinct, mixture=False)
    moe = dense if setting.model.moe is None else layer_activations(distinct, mixture=True)
    passes = PassBytes(
        dense_kept_bytes=dense.kept_bytes,
        dense_working_bytes=dense.working_bytes,
        moe_kept_bytes=moe.kept_bytes,
        moe_working_bytes=moe.working_bytes,
        logits_bytes=memory.logits_bytes * _n_logits(distinct),
        saved_logits_bytes=min(SAVED_LOGIT_BYTES, memory.logits_bytes) * _n_logits(distinct),
    )
    return spread(passes, inverse)


def _n_logits(setting: Setting) -> FloatArray:
    """Logits of one microbatch on one rank."""
    outputs = head_weights(setting.model) / setting.model.hidden_size
    divided = 1 if setting.software.memory.gathers_logits else setting.table.tp
    n_logits: FloatArray = setting.tokens * outputs / divided
    return n_logits


def _held_logits_bytes(passes: PassBytes, table: PlanTable) -> FloatArray:
    """Logits of the loss that is differentiated, and what waits for the same."""
    waiting = losses_in_flight(table) - 1
    held: FloatArray = passes.logits_bytes + waiting * passes.saved_logits_bytes
    return held


def communicators_bytes(
    cluster: ClusterSpec, software: SoftwareProfile, table: PlanTable
) -> FloatArray:
    """Buffers of the communication library; shape (n,).

    A calibrated cluster has them in what its ranks hold before any tensor.
    """
    calibration = cluster.calibration
    measured = calibration is not None and calibration.process_memory_bytes
    if measured or not software.memory.nccl_buffers:
        return np.zeros(len(table))
    mesh = (table.pp, table.dp_replicate, table.dp_shard, table.cp, table.tp, table.ep)
    subset, inverse = unique_rows(table, mesh)
    held: FloatArray = communicator_bytes(cluster, subset)[inverse]
    return held


def _every_stage(value: FloatArray, stages: FloatArray) -> FloatArray:
    return np.repeat(value[:, None], stages.shape[1], axis=1)


def framework_bytes(cluster: ClusterSpec, software: SoftwareProfile) -> float:
    """What a rank holds before any tensor: measured where the cluster was calibrated."""
    calibration = cluster.calibration
    if calibration is not None and calibration.process_memory_bytes:
        return calibration.process_memory_bytes
    return software.memory.framework_bytes
