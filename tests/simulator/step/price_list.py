"""Price lists with round numbers, so that a step can be reckoned by hand."""

from dataclasses import replace

import numpy as np

from simulator.cost.step_costs import EdgeCosts, LayerCosts, LayerTime, StepCosts
from simulator.spec.model import ModelSpec


def column(value: float) -> np.ndarray:
    return np.array([float(value)])


def layer_time(
    compute_s: float, tp_s: float = 0.0, cp_s: float = 0.0, ep_s: float = 0.0
) -> LayerTime:
    return LayerTime(
        compute_s=column(compute_s), tp_s=column(tp_s), cp_s=column(cp_s), ep_s=column(ep_s)
    )


NO_TIME = layer_time(0.0)


def layer(
    forward_s: float,
    backward_s: float,
    *,
    recompute_s: float = 0.0,
    tp_s: float = 0.0,
    reduce_s: float = 0.0,
    gather_s: float = 0.0,
) -> LayerCosts:
    return LayerCosts(
        forward=layer_time(forward_s, tp_s),
        backward=layer_time(backward_s, tp_s),
        recompute=layer_time(recompute_s),
        reduce_s=column(reduce_s),
        gather_s=column(gather_s),
    )


def edge(
    forward_s: float = 0.0,
    backward_s: float = 0.0,
    *,
    reduce_s: float = 0.0,
    gather_s: float = 0.0,
) -> EdgeCosts:
    return EdgeCosts(
        forward=layer_time(forward_s),
        backward=layer_time(backward_s),
        reduce_s=column(reduce_s),
        gather_s=column(gather_s),
    )


def step_costs(dense: LayerCosts, **scalars: float) -> StepCosts:
    """Prices of one plan: a layer, and what differs from "nothing else takes time"."""
    free = {
        "p2p_s": 0.0,
        "p2p_overlap": 0.0,
        "dp_overlap": 1.0,
        "gather_once_overlap": scalars.get("dp_overlap", 1.0),
        "dp_contention": 0.0,
        "gather_every_pass": 0.0,
        "reduce_every_microbatch": 0.0,
        "optimizer_s": 0.0,
        "step_constant_s": 0.0,
        "scale_factor": 1.0,
    }
    columns = {name: column(value) for name, value in (free | scalars).items()}
    return StepCosts(dense=dense, moe=dense, embedding=edge(), head=edge(), **columns)


def with_edges(costs: StepCosts, *, embedding: EdgeCosts, head: EdgeCosts) -> StepCosts:
    return replace(costs, embedding=embedding, head=head)


def model(n_layers: int) -> ModelSpec:
    return ModelSpec(
        name="toy",
        n_layers=n_layers,
        hidden_size=64,
        n_heads=4,
        n_kv_heads=4,
        head_dim=16,
        ffn_size=256,
        vocab_size=256,
    )
