"""Floating-point operations of the model itself, in one convention for every MFU printed here."""

from __future__ import annotations

from simulator.cost.layers import (
    attention_linears,
    dense_ffn_linears,
    expert_linears,
    n_weights,
    score_width,
    shared_expert_linears,
)
from simulator.spec.model import ModelSpec


def layer_matmul_weights(model: ModelSpec, *, mixture: bool) -> int:
    """Weights of one layer that a token is multiplied with."""
    weights = n_weights(attention_linears(model))
    if not mixture or model.moe is None:
        return weights + n_weights(dense_ffn_linears(model))
    moe = model.moe
    routed = moe.top_k * n_weights(expert_linears(model, moe))
    return weights + n_weights(shared_expert_linears(model, moe)) + routed


def head_weights(model: ModelSpec) -> int:
    """Weights of the output head, shared with the embedding or not."""
    if model.kind == "vit":
        classes = model.patches.n_classes if model.patches is not None else 0
        return model.hidden_size * classes
    if not model.lm_head:
        return 0
    transform = model.hidden_size**2 if model.lm_head_transform else 0
    return model.hidden_size * model.vocab_size + transform


def matmul_weights(model: ModelSpec) -> int:
    """N of the 6N rule: weights that every token is multiplied with.

    The language-model head counts once, the input embedding does not; of the routed experts, the
    top_k that a token visits.
    """
    mixtures = model.n_moe_layers
    dense = model.n_layers - mixtures
    return (
        dense * layer_matmul_weights(model, mixture=False)
        + mixtures * layer_matmul_weights(model, mixture=True)
        + head_weights(model)
    )


def model_flops_per_token(model: ModelSpec, sequence_length: int) -> float:
    """Forward and backward FLOPs of one token: 6 N + 12 L h s (full attention).

    Twelve is six times the two products of the attention core; h is the width of all heads. With
    latent attention 2 h becomes the widths of both products. Recompute is not counted: it is not
    the model's.

    References
    ----------
    PaLM, arXiv 2204.02311, appendix B.
    """
    attention = 6.0 * model.n_layers * score_width(model) * sequence_length
    return 6.0 * matmul_weights(model) + attention
