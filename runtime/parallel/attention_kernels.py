"""torch's fused attention by its parts: with the logarithm of the sums, and a backward pass of it.

The operators are private to torch: `tests/runtime/parallel/test_context.py` holds them to what the
public function returns. On GPUs they take bf16 only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

_aten = torch.ops.aten


class Attended(NamedTuple):
    """What queries saw."""

    out: Tensor
    """(B, H, T, K)."""
    logsum: Tensor
    """Logarithm of the sum of exponentiated scores, (B, H, T), fp32."""


def _repeated(x_BGTK: Tensor, n_heads: int) -> Tensor:
    return x_BGTK.repeat_interleave(n_heads // x_BGTK.shape[1], dim=1)


def _summed(x_BHTK: Tensor, n_groups: int) -> Tensor:
    n_sequences, _, n_tokens, width = x_BHTK.shape
    return x_BHTK.view(n_sequences, n_groups, -1, n_tokens, width).sum(2)


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Attended:
    """Attend; keys and values may have fewer heads than queries, as many as divide theirs."""
    k, v = _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    if q.is_cuda:
        out, logsum, *_ = _aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal)
    else:
        out, logsum = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
    return Attended(out, logsum)


def attend_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, attended: Attended, *, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values.

    `attended` may be of more keys than `k` has; the gradients are then the shares of `k` and `v`.
    """
    n_groups = k.shape[1]
    k, v = _repeated(k, q.shape[1]), _repeated(v, q.shape[1])
    inputs: tuple[Any, ...] = (gradient, q, k, v, attended.out, attended.logsum.contiguous())
    if q.is_cuda:
        none = torch.empty(2, dtype=torch.uint64, device=q.device)
        sizes = (None, None, q.shape[2], k.shape[2])
        dq, dk, dv = _aten._scaled_dot_product_flash_attention_backward(
            *inputs, *sizes, 0.0, causal, none, none
        )
    else:
        dq, dk, dv = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *inputs, 0.0, causal
        )
    return dq, _summed(dk, n_groups), _summed(dv, n_groups)
