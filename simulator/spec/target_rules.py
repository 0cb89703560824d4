"""Conditions of the executors of plans that tie decisions together or exclude models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.legality import Decisions, trait
from simulator.spec.model import ModelSpec

if TYPE_CHECKING:
    from simulator.spec.legality import Truth


@dataclass(frozen=True, slots=True)
class ModelRule:
    """A condition of one executor on models."""

    allowed: Callable[[ModelSpec], bool]
    what: str
    """What the executor cannot run where the condition does not hold."""


@dataclass(frozen=True, slots=True)
class TargetRule:
    """A condition of one executor that ties decisions together."""

    column: str
    """The last of its decisions in the order in which the search takes them: tp, pp, cp, ep, then
    the schedule, how data parallelism divides (zero_stage, dp_shard), then sequence_parallel."""
    allowed: Callable[[ModelSpec, Decisions], Truth]
    """Written with operators that mean the same for one plan and for columns of plans."""
    what: str
    """What the executor cannot run where the condition does not hold."""


_WHOLE_KV_HEADS = TargetRule(
    "tp",
    lambda model, plan: model.n_kv_heads % plan.tp == 0,
    "tp that does not divide the key and value heads",
)


def _experts_in_one_copy(_: ModelSpec, plan: Decisions) -> Truth:
    """Whether every divided copy of the model has all experts."""
    in_copy = plan.dp_shard * plan.cp * plan.tp
    return (plan.zero_stage == 0) | (plan.dp_replicate == 1) | (in_copy % plan.ep == 0)


_EXPERTS_BY_TOKEN_SHARES = TargetRule(
    "sequence_parallel",
    lambda model, plan: (
        (model.moe is None) | (plan.tp == 1) | (plan.ep == 1) | (plan.sequence_parallel != 0)
    ),
    "experts spread over ranks of tp without sequence_parallel",
)
_EXPERTS_IN_ONE_COPY = TargetRule(
    "dp_shard",
    _experts_in_one_copy,
    "copies of a divided model and ep that does not divide dp_shard x cp x tp",
)
OWN_MODEL_RULES = (
    ModelRule(
        lambda model: model.moe is None or not model.ffn_bias,
        "experts with biases",
    ),
    ModelRule(
        lambda model: model.moe is None or model.moe.most_nodes == 0,
        "experts on a limited number of nodes for every token",
    ),
    ModelRule(
        lambda model: model.moe is None or model.moe.expert_bias_rate == 0,
        "experts that are balanced by a bias",
    ),
    ModelRule(lambda model: model.lm_head, "models without a language-model head"),
    ModelRule(lambda model: not model.lm_head_transform, "a layer between model and head"),
    ModelRule(lambda model: model.n_token_types == 0, "token types"),
    ModelRule(lambda model: model.n_mtp_layers == 0, "multi-token prediction"),
    ModelRule(
        lambda model: (
            model.position != "rope" or int(model.head_dim * model.rope_fraction) % 2 == 0
        ),
        "rotary positions in heads of odd width",
    ),
    ModelRule(
        lambda model: model.rope_scaling is None or model.rope_scaling.kind != "yarn",
        "rotary positions stretched by YaRN",
    ),
)
OWN_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule(
        "tp",
        lambda model, plan: (plan.tp == 1) | (model.mla is None),
        "tp > 1 with latent attention",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (plan.cp == 1) | (model.mla is None),
        "cp > 1 with latent attention",
    ),
    _EXPERTS_BY_TOKEN_SHARES,
    _EXPERTS_IN_ONE_COPY,
    TargetRule(
        "ep",
        lambda model, plan: (
            (plan.tp == 1)
            | (model.moe is None or model.moe.shared_ffn_size % plan.tp == 0)
            & ((plan.ep > 1) | (model.moe is None or model.moe.expert_ffn_size % plan.tp == 0))
        ),
        "tp that does not divide the inner width of experts",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (plan.cp == 1) | (model.sliding_window == 0),
        "cp > 1 with a sliding window",
    ),
    TargetRule(
        "schedule",
        lambda model, plan: (
            (not model.tied_embeddings)
            | (plan.pp == 1)
            | (trait(plan, lambda traits: traits.v_shaped) == 0)
        ),
        "tied embeddings with chunks in a V",
    ),
    TargetRule(
        "schedule",
        lambda _, plan: (plan.tp == 1) | (trait(plan, lambda traits: traits.splits_backward) == 0),
        "a backward pass split in two (torch's, which does not take DTensors) with tp > 1",
    ),
)
TORCHTITAN_RULES = (
    TargetRule(
        "schedule",
        lambda _, plan: (
            (plan.pp == 1)
            | (plan.virtual_stages > 1)
            | (trait(plan, lambda traits: traits.most_chunks) == 1)
        ),
        "schedules for several chunks per rank with one",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: plan.dp_shard * plan.cp * plan.tp % plan.ep == 0,
        "ep that does not divide dp_shard x cp x tp",
    ),
    TargetRule(
        "zero_stage",
        lambda _, plan: (plan.cp == 1) | (plan.zero_stage > 0),
        "cp > 1 with zero_stage=0, because it always divides weights over cp",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (model.n_mtp_layers == 0) | (plan.pp * plan.cp == 1),
        "multi-token prediction with pp > 1 or cp > 1",
    ),
    TargetRule(
        "pp",
        lambda model, plan: (not model.tied_embeddings) | (plan.pp == 1),
        "tied embeddings with pp > 1",
    ),
    _WHOLE_KV_HEADS,
)
MEGATRON_RULES = (
    TargetRule(
        "sequence_parallel",
        lambda model, plan: (model.moe is None) | (plan.tp == 1) | (plan.sequence_parallel != 0),
        "experts under tp without sequence_parallel",
    ),
    TargetRule(
        "dp_shard",
        _experts_in_one_copy,
        "several optimizer instances and ep that does not divide dp_shard x cp x tp",
    ),
)
DEEPSPEED_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule(
        "pp",
        lambda _, plan: (plan.tp == 1) | (plan.pp == 1),
        "tp (AutoTP) together with pp (PipelineModule)",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: (plan.zero_stage == 0) | (plan.dp_replicate == 1),
        "dp_replicate > 1 under a ZeRO stage, which divides over all data-parallel ranks",
    ),
)
ACCELERATE_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule("pp", lambda _, plan: plan.pp == 1, "pp > 1"),
    TargetRule(
        "zero_stage",
        lambda _, plan: (plan.cp == 1) | (plan.zero_stage > 0),
        "cp > 1 with zero_stage=0, because it divides weights over cp",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: (plan.tp * plan.cp == 1) | (plan.dp_replicate == 1) | (plan.dp_shard > 1),
        "tp or cp together with copies that are not divided",
    ),
)
