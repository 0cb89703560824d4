"""What ranks of a ring hold and see, and the private kernels that they see it with."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from runtime.parallel.attention_kernels import attend, attend_backward
from runtime.parallel.context import held_positions


@pytest.mark.parametrize("n_ranks", [1, 2, 4])
def test_ranks_have_all_positions_and_the_same_work(n_ranks: int) -> None:
    n_held = 24 // n_ranks
    held = [held_positions(r, n_ranks, n_held, torch.device("cpu")) for r in range(n_ranks)]
    assert torch.cat(held).sort().values.tolist() == list(range(24))
    keys_seen = {int((positions + 1).sum()) for positions in held}
    assert len(keys_seen) == 1


@pytest.mark.parametrize("causal", [True, False])
def test_kernels_are_the_public_function(causal: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 8, 16), (2, 2, 8 if causal else 12, 16)
    q, k = (torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes)
    v = torch.randn(shapes[1], generator=generator, requires_grad=True)
    out = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    gradient = torch.randn(out.shape, generator=generator)
    expected = torch.autograd.grad(out, (q, k, v), gradient)
    with torch.no_grad():
        found = attend(q, k, v, causal=causal)
        torch.testing.assert_close(found.out, out)
        gradients = attend_backward(gradient, q, k, v, found, causal=causal)
    torch.testing.assert_close(gradients, expected)
    scores = q @ k.repeat_interleave(2, dim=1).transpose(2, 3) / 4
    if causal:
        scores = scores.masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(found.logsum, scores.logsumexp(-1))
