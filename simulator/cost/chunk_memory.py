"""What the ranks of one plan hold, by when it comes and goes: the closed form's terms, apart."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.cost.memory import communicators_bytes, framework_bytes, pass_bytes
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.stages import StageLayers, chunk_rows
from simulator.cost.states import model_states
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.profiles import SoftwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMemory:
    """Tensors of one chunk and one microbatch, in bytes."""

    kept_bytes: float
    """From the forward to the backward; with a split backward, to the gradients of the weights."""
    saved_logits_bytes: float
    """The same, to the backward: what the loss keeps."""
    loss_bytes: float
    """More of the loss while it is differentiated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankMemory:
    """Tensors of one pipeline rank, in bytes."""

    states_bytes: float
    """Weights, gradients, optimizer state and workspace: always there."""
    pass_buffers_bytes: float
    """From the first pass to the last."""
    working_bytes: float
    """While a backward pass runs."""
    update_buffers_bytes: float
    """While the optimizer runs."""
    holes_bytes: float
    """Not tensors, but in no tensor's reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMemory:
    """Everything that the pipeline ranks of a plan hold."""

    ranks: tuple[RankMemory, ...]
    chunks: tuple[ChunkMemory, ...]
    """In model order."""
    fragmentation: float
    outside_bytes: float
    """Device context, libraries, and buffers of the communication library."""

    def used_bytes(self, rank: int, tensor_bytes: float) -> float:
        """Return what the device of a rank has to have for so many bytes of tensors."""
        holes = self.fragmentation * tensor_bytes + self.ranks[rank].holes_bytes
        return tensor_bytes + holes + self.outside_bytes


def plan_memory(
    model: ModelSpec,
    cluster: ClusterSpec,
    job: JobSpec,
    software: SoftwareProfile,
    plan: PlanSpec,
) -> PlanMemory:
    """Return what comes and goes on every rank of a plan."""
    table = PlanTable.of([plan])
    setting = Setting.of(model, cluster, job, software, table)
    buffers = communicators_bytes(cluster, software, table)[0]
    stages = StageLayers.all_of_plan(model, plan)
    states = model_states(setting, stages)
    passes = pass_bytes(setting)
    dense_kept, moe_kept = passes.dense_kept_bytes[0], passes.moe_kept_bytes[0]
    working = (passes.dense_working_bytes[0], passes.moe_working_bytes[0])
    saved = passes.saved_logits_bytes[0]
    more = passes.logits_bytes[0] - saved
    return PlanMemory(
        ranks=tuple(
            RankMemory(
                states_bytes=float(states.kept_bytes[0, rank]) + software.memory.workspace_bytes,
                pass_buffers_bytes=float(states.pass_buffers_bytes[0, rank]),
                working_bytes=float(working[int(stages.moe[0, rank] > 0)]),
                update_buffers_bytes=float(states.update_buffers_bytes[0, rank]),
                holes_bytes=float(states.holes_bytes[0, rank]),
            )
            for rank in range(plan.pp)
        ),
        chunks=tuple(
            ChunkMemory(
                kept_bytes=float(dense * dense_kept + moe * moe_kept),
                saved_logits_bytes=float(saved) if heads else 0.0,
                loss_bytes=float(more) if heads else 0.0,
            )
            for dense, moe, _, heads in chunk_rows(model, plan.chunk_layers(model.n_layers))
        ),
        fragmentation=software.memory.fragmentation,
        outside_bytes=framework_bytes(cluster, software) + float(buffers),
    )
