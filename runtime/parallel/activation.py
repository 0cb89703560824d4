"""What a layer keeps for its backward pass: everything, the costly parts, or only its input."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils import checkpoint

from runtime.model.transformer import Transformer
from simulator.spec.plan import RecomputeName

_aten = torch.ops.aten

KEPT_BY_SELECTIVE = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
    }
)
"""Operations whose results selective recompute keeps: matrix products and fused attention. Norms,
activations, rotations and additions are done again."""


def _policy(_context: Any, operation: Any, *_args: Any, **_kwargs: Any) -> Any:
    if operation in KEPT_BY_SELECTIVE:
        return checkpoint.CheckpointPolicy.MUST_SAVE
    return checkpoint.CheckpointPolicy.PREFER_RECOMPUTE


def _selective_contexts() -> Any:
    return checkpoint.create_selective_checkpoint_contexts(_policy)  # type: ignore[no-untyped-call]


def recompute_activations(model: Transformer, recompute: RecomputeName) -> None:
    """Make every layer of a chunk recompute what it does not keep.

    To be called after tensor and before data parallelism: weights are gathered outside the
    recomputed part.
    """
    if recompute == "none":
        return
    contexts = _selective_contexts if recompute == "selective" else checkpoint.noop_context_fn
    for block in model.blocks():
        block.forward = functools.partial(  # type: ignore[method-assign]
            checkpoint.checkpoint, block.forward, use_reentrant=False, context_fn=contexts
        )
