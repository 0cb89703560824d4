"""What a rank passes to the groups of its mesh in one step, in bytes: what torch would issue.

Full messages are counted: the whole tensor that is gathered, reduced or scattered, once per
collective; of transfers what the rank sends. The prices of `simulator.cost.exchange` and
`simulator.cost.data_parallel` are for the same messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simulator.cost.data_parallel import gradient_bytes, stage_parameters, weight_bytes
from simulator.cost.exchange import activation_bytes, context_message, expert_message, stage_message
from simulator.cost.layers import final_norm_parameters
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.shares import head_parameters
from simulator.cost.stages import StageLayers
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import rank_of_chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVolume:
    """Bytes of one rank of a pipeline stage in the passes of one step."""

    tp_bytes: float
    """All-reduces, or with sequence parallelism all-gathers and reduce-scatters."""
    cp_bytes: float
    """Keys and values, and their gradients, passed around the ring."""
    ep_bytes: float
    """Tokens to their experts and back."""
    pp_bytes: float
    """Activations and gradients sent to other stages."""
    dp_reduce_bytes: float
    """Gradients: reduce-scatter over dp_shard, or all-reduce over dp_replicate without sharding."""
    dp_copies_bytes: float
    """Shards of gradients that copies all-reduce (dp_replicate beside dp_shard)."""
    dp_gather_bytes: float
    """Weights gathered over dp_shard."""


def step_volumes(setting: Setting, plan: PlanSpec) -> tuple[StepVolume, ...]:
    """Return what a rank of every pipeline stage passes on; `setting` is of this plan alone."""
    return tuple(_stage_volume(setting, plan, rank) for rank in range(plan.pp))


def _stage_volume(setting: Setting, plan: PlanSpec, rank: int) -> StepVolume:
    model, n = setting.model, plan.n_microbatches
    all_stages = StageLayers.all_of_plan(model, plan)
    stages = all_stages.only(rank)
    n_layers = float(stages.dense[0, 0] + stages.moe[0, 0])
    n_ends = float(stages.embedding[0, 0] + stages.heads[0, 0])
    again = _layers_again(model, plan, rank)
    return StepVolume(
        tp_bytes=n * _tensor_bytes(setting, plan, n_layers, again.all, n_ends),
        cp_bytes=n * 3.0 * n_layers * (plan.cp - 1) * float(context_message(setting)[0]),
        ep_bytes=n
        * 2.0
        * (2.0 * float(stages.moe[0, 0]) + again.mixtures)
        * float(expert_message(setting)[0])
        if plan.ep > 1
        else 0.0,
        pp_bytes=n * _n_sent(plan, rank) * float(stage_message(setting)[0]),
        **_data_bytes(setting, plan, stages),
    )


class _Layers(NamedTuple):
    all: float
    mixtures: float


def _layers_again(model: ModelSpec, plan: PlanSpec, rank: int) -> _Layers:
    """Layers of a rank whose collectives the backward pass repeats: those repeated whole, and
    mixtures whose experts are.

    The feed-forward network alone has none of its own: it begins with gathered tokens, and stops
    before its sums are reduced.
    """
    kind, sizes = plan.recompute_kind, plan.chunk_layers(model.n_layers)
    whole = mixtures = 0
    for chunk in plan.chunks_of_rank(rank):
        first = sum(sizes[:chunk])
        for at in range(sizes[chunk]):
            is_whole, is_moe = kind.is_whole(first + at, at), model.is_moe_layer(first + at)
            whole += is_whole
            mixtures += is_moe and (is_whole or "moe" in kind.parts)
    return _Layers(whole, mixtures)


def _tensor_bytes(
    setting: Setting, plan: PlanSpec, n_layers: float, n_again: float, n_ends: float
) -> float:
    """Two pairs of collectives per pass of a layer, one of embedding or head; a pair is one
    all-reduce without sequence parallelism.

    A recomputed layer stops before its last collective, whose result no gradient needs.
    """
    if plan.tp == 1:
        return 0.0
    of_pair = 2.0 if plan.sequence_parallel else 1.0
    of_layers = 4.0 * of_pair * n_layers + (2.0 * of_pair - 1.0) * n_again
    return (of_layers + of_pair * n_ends) * float(activation_bytes(setting)[0])


def _n_sent(plan: PlanSpec, rank: int) -> int:
    """Transfers per microbatch: outputs of chunks to the next one, gradients to the one before."""
    return sum(
        rank_of_chunk(plan.schedule, plan.pp, neighbour) != rank
        for chunk in plan.chunks_of_rank(rank)
        for neighbour in (chunk - 1, chunk + 1)
        if 0 <= neighbour < plan.n_chunks
    )


def _data_bytes(setting: Setting, plan: PlanSpec, stages: StageLayers) -> dict[str, float]:
    """Gradients and weights of the stage.

    FSDP reduces after every microbatch without a pipeline (ZeRO 2 and 3), and gathers for every
    pass (ZeRO 3) all but the head, which stays from a forward to its backward. Copies of shards are
    added up once per step.
    """
    held = stage_parameters(setting, stages)
    n_held = float(held.common[0, 0] + held.routed[0, 0])
    n = plan.n_microbatches
    n_reduced = n if plan.zero_stage >= 2 and plan.pp == 1 else 1
    gradients = gradient_bytes(setting.job) * n_held
    sharded = plan.zero_stage > 0 and plan.dp_shard * plan.cp > 1
    gathered = n_held
    if plan.zero_stage == 3:
        gathered = n * (2.0 * n_held - _staying(setting.model, setting.table, stages))
    replicated = plan.dp_replicate > 1
    return {
        "dp_reduce_bytes": (n_reduced if sharded else float(replicated)) * gradients,
        "dp_copies_bytes": gradients / (plan.dp_shard * plan.cp) * (sharded and replicated),
        "dp_gather_bytes": weight_bytes(setting.job) * gathered * sharded,
    }


def _staying(model: ModelSpec, table: PlanTable, stages: StageLayers) -> float:
    """Parameters that stay gathered between a forward and the backward after it."""
    if not stages.heads[0, 0]:
        return 0.0
    return float(head_parameters(model, table)[0]) + final_norm_parameters(model)
