"""What layers keep for their backward pass: everything, the costly parts, or only their input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint

from runtime.model.feed_forward import FeedForward
from runtime.model.transformer import Transformer
from simulator.spec.recompute import Recompute

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


def recompute_activations(model: Transformer, kind: Recompute) -> None:
    """Make the layers of a chunk recompute what they do not keep.

    To be called after tensor and before data parallelism: weights are gathered outside the
    recomputed part.
    """
    for position, block in enumerate(model.blocks()):
        if kind.is_whole(model.chunk.first_layer + position, position):
            _repeat(block)
        elif "selective" in kind.parts:
            _repeat(block, contexts=_selective_contexts)
        elif "mlp" in kind.parts and isinstance(block.ffn, FeedForward):
            _repeat(block.ffn)


def _repeat(module: nn.Module, contexts: Callable[[], Any] = checkpoint.noop_context_fn) -> None:
    module.forward = functools.partial(
        checkpoint.checkpoint, module.forward, use_reentrant=False, context_fn=contexts
    )
