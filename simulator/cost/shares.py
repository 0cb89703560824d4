"""How many parameters a rank holds of a layer, of the embedding and of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.edges import patch_values
from simulator.cost.flops import head_weights
from simulator.cost.layers import (
    Linear,
    attention_linears,
    dense_ffn_linears,
    expert_linears,
    n_weights,
    norm_parameters,
    shared_expert_linears,
)
from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
from simulator.spec.model import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RankParameters:
    """Parameters that one rank holds before data parallelism divides them; arrays over plans."""

    common: FloatArray
    """Replicated over all data-parallel and context-parallel ranks."""
    routed: FloatArray
    """Experts: replicated over the ranks that hold copies of the same expert."""


def layer_parameters(
    model: ModelSpec, table: PlanTable, expert_tp: IntArray, *, mixture: bool
) -> RankParameters:
    """Parameters of one layer on one rank; `expert_tp` ranks divide each expert."""
    linears = attention_linears(model)
    routed = np.zeros(len(table))
    if mixture and model.moe is not None:
        linears += shared_expert_linears(model, model.moe)
        experts = model.moe.n_experts * n_weights(expert_linears(model, model.moe))
        routed = experts / (table.ep * expert_tp)
    else:
        linears += dense_ffn_linears(model)
    return RankParameters(common=_divided(linears, table) + norm_parameters(model), routed=routed)


def _divided(linears: tuple[Linear, ...], table: PlanTable) -> FloatArray:
    whole = sum(linear.n_weights for linear in linears if linear.split == "none")
    split = sum(linear.n_weights for linear in linears if linear.split != "none")
    return whole + split / table.tp


def embedding_parameters(model: ModelSpec, table: PlanTable) -> FloatArray:
    """Parameters in front of the first layer on one rank; the vocabulary is divided by tp."""
    if model.patches is not None:
        positions = model.patches.n_patches + 2
        own = patch_values(model) + positions
        return np.full(len(table), 1.0 * own * model.hidden_size)
    places = model.max_positions if model.position == "learned" else 0
    rows: FloatArray = model.vocab_size / table.tp + places + model.n_token_types
    return model.hidden_size * rows


def head_parameters(model: ModelSpec, table: PlanTable) -> FloatArray:
    """Parameters of the head on one rank, where the last stage holds its own copy."""
    return head_weights(model) / table.tp
