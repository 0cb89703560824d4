"""What a rank passes to the groups of its mesh in one step, in bytes: what torch would issue.

Full messages are counted: the whole tensor that is gathered, reduced or scattered, once per
collective; of transfers what the rank sends. The prices of `simulator.cost.exchange` and
`simulator.cost.data_parallel` are for the same messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simulator.cost.data_parallel import gradient_bytes, stage_parameters, weight_bytes
from simulator.cost.exchange import (
    activation_bytes,
    context_message,
    expert_message,
    repeats_last_sum,
    stage_message,
)
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
    """Gradients that are reduced and scattered over the ranks that divide weights."""
    dp_copies_bytes: float
    """Gradients, or shards of them, that copies all-reduce (dp_replicate; cp where it copies)."""
    dp_gather_bytes: float
    """Weights gathered over the ranks that divide them."""
    expert_reduce_bytes: float
    """Gradients of spread experts, over the ranks that divide the same ones."""
    expert_copies_bytes: float
    """The same (or shards of them) that copies all-reduce."""
    expert_gather_bytes: float
    """Weights of spread experts that are gathered."""


def step_volumes(setting: Setting, plan: PlanSpec) -> tuple[StepVolume, ...]:
    """Return what a rank of every pipeline stage passes on; `setting` is of this plan alone."""
    return tuple(_stage_volume(setting, plan, rank) for rank in range(plan.pp))


def _stage_volume(setting: Setting, plan: PlanSpec, rank: int) -> StepVolume:
    model, n = setting.model, plan.n_microbatches
    all_stages = StageLayers.all_of_plan(model, plan)
    stages = all_stages.only(rank)
    n_layers = float(stages.dense[0, 0] + stages.moe[0, 0])
    n_mixtures = float(stages.moe[0, 0])
    again = _layers_again(model, plan, rank)
    return StepVolume(
        tp_bytes=n * _tensor_bytes(setting, plan, stages, again),
        cp_bytes=n
        * (3.0 * n_layers + again.dense + again.mixtures)
        * (plan.cp - 1)
        * float(context_message(setting)[0]),
        ep_bytes=n
        * 2.0
        * (2.0 * n_mixtures + again.mixtures + again.experts)
        * float(expert_message(setting)[0])
        if plan.ep > 1
        else 0.0,
        pp_bytes=n * _n_sent(plan, rank) * float(stage_message(setting)[0]),
        **_data_bytes(setting, plan, stages),
    )


class _LayersAgain(NamedTuple):
    """Layers whose collectives a backward pass repeats."""

    dense: int
    """Repeated whole."""
    mixtures: int
    """Repeated whole."""
    experts: int
    """Mixtures of which the experts alone are repeated."""
    networks: int
    """Dense layers of which the feed-forward network alone is repeated."""


def _layers_again(model: ModelSpec, plan: PlanSpec, rank: int) -> _LayersAgain:
    """Count what a rank repeats."""
    kind, sizes = plan.recompute_kind, plan.chunk_layers(model.n_layers)
    dense = mixtures = experts = networks = 0
    for chunk in plan.chunks_of_rank(rank):
        first = sum(sizes[:chunk])
        for at in range(sizes[chunk]):
            is_whole, is_moe = kind.is_whole(first + at, at), model.is_moe_layer(first + at)
            dense += is_whole and not is_moe
            mixtures += is_whole and is_moe
            experts += is_moe and not is_whole and "moe" in kind.parts
            networks += not is_moe and not is_whole and "mlp" in kind.parts
    return _LayersAgain(dense, mixtures, experts, networks)


def _tensor_bytes(
    setting: Setting, plan: PlanSpec, stages: StageLayers, again: _LayersAgain
) -> float:
    """Two pairs of collectives per pass of a dense layer, one of embedding or head; a pair is one
    all-reduce without sequence parallelism. Of a mixture, shared experts have one, and so have
    experts that are divided by tp.

    Software that stops recompute early does not repeat the last collective of a whole layer where
    no gradient needs its result (`repeats_last_sum`), and none of a network alone.
    """
    if plan.tp == 1:
        return 0.0
    moe = setting.model.moe
    has_shared = moe is not None and moe.shared_ffn_size > 0
    of_pair = 2.0 if plan.sequence_parallel else 1.0
    of_mixture = of_pair * (1 + has_shared + (plan.ep == 1))
    parts = 0 if setting.software.stops_recompute_early else 1
    skips = [not repeats_last_sum(setting, mixture=mixture)[0] for mixture in (False, True)]
    of_experts = of_mixture - of_pair
    n_ends = float(stages.embedding[0, 0] + stages.heads[0, 0])
    n_collectives = (
        of_pair * (4.0 * float(stages.dense[0, 0]) + n_ends)
        + of_mixture * 2.0 * float(stages.moe[0, 0])
        + (2.0 * of_pair - skips[0]) * again.dense
        + (of_mixture - skips[1]) * again.mixtures
        + parts * (of_pair * again.networks + of_experts * again.experts)
    )
    return n_collectives * float(activation_bytes(setting)[0])


def _n_sent(plan: PlanSpec, rank: int) -> int:
    """Transfers per microbatch: outputs of chunks to the next one, gradients to the one before."""
    return sum(
        rank_of_chunk(plan.schedule, plan.pp, neighbour) != rank
        for chunk in plan.chunks_of_rank(rank)
        for neighbour in (chunk - 1, chunk + 1)
        if 0 <= neighbour < plan.n_chunks
    )


def _data_bytes(setting: Setting, plan: PlanSpec, stages: StageLayers) -> dict[str, float]:
    """Gradients and weights of the stage, those of spread experts among the ranks that have the
    same ones.
    """
    held = stage_parameters(setting, stages)
    common, routed = float(held.common[0, 0]), float(held.routed[0, 0])
    divided = plan.zero_stage > 0 and plan.dp_shard * plan.cp > 1
    n_shards = plan.dp_shard * plan.cp if divided else 1
    n_copies = plan.dp * plan.cp // n_shards
    staying = _staying(setting.model, setting.table, stages)
    if plan.ep == 1:
        common, routed = common + routed, 0.0
    n_expert_shards = max(n_shards * plan.tp // plan.ep, 1) if divided else 1
    n_expert_copies = plan.n_ranks // (plan.pp * plan.ep * n_expert_shards)
    dense = _weight_bytes(setting, plan, common, staying, n_shards, n_copies)
    experts = _weight_bytes(setting, plan, routed, 0.0, n_expert_shards, n_expert_copies)
    return {
        "dp_reduce_bytes": dense.reduce,
        "dp_copies_bytes": dense.copies,
        "dp_gather_bytes": dense.gather,
        "expert_reduce_bytes": experts.reduce,
        "expert_copies_bytes": experts.copies,
        "expert_gather_bytes": experts.gather,
    }


class _WeightBytes(NamedTuple):
    reduce: float
    copies: float
    gather: float


def _weight_bytes(
    setting: Setting,
    plan: PlanSpec,
    n_held: float,
    n_staying: float,
    n_shards: int,
    n_copies: int,
) -> _WeightBytes:
    """Bytes of some weights that `n_shards` ranks divide and `n_copies` have copies of.

    FSDP reduces after every microbatch without a pipeline (ZeRO 2 and 3), and gathers for every
    pass (ZeRO 3) all but the head, which stays from a forward to its backward. Copies are added up
    once per step.
    """
    n = plan.n_microbatches
    n_reduced = n if plan.zero_stage >= 2 and plan.pp == 1 else 1
    gradients = gradient_bytes(setting.job) * n_held
    n_gathered = n_held
    if plan.zero_stage == 3:
        n_gathered = n * (2.0 * n_held - n_staying)
    return _WeightBytes(
        reduce=n_reduced * gradients * (n_shards > 1),
        copies=gradients / n_shards * (n_copies > 1),
        gather=weight_bytes(setting.job) * n_gathered * (n_shards > 1),
    )


def _staying(model: ModelSpec, table: PlanTable, stages: StageLayers) -> float:
    """Parameters that stay gathered between a forward and the backward after it."""
    if not stages.heads[0, 0]:
        return 0.0
    return float(head_parameters(model, table)[0]) + final_norm_parameters(model)
