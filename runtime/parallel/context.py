"""Context parallelism: sequences divided over the cp axis, whose keys and values go round a ring.

Rank r of w has pieces r and 2w - 1 - r of a sequence that is cut into 2w, an early and a late one,
so that behind a causal mask all ranks have the same work with every block of keys that comes by.
References: Liu et al. 2023, arXiv:2310.01889, section 3; Brandon et al. 2023, arXiv:2311.09431
(the balance); Dao et al. 2022, arXiv:2205.14135, section 3.1 (how parts are put together).

Shapes in names: B sequences, H heads, G heads of keys and values, T tokens here, K head width.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from runtime.mesh import Mesh
from runtime.model.transformer import Transformer
from runtime.parallel.attention_kernels import Attended, attend, attend_backward


def held_positions(rank: int, n_ranks: int, n_held: int, device: torch.device) -> Tensor:
    """Return the places in their sequence of the tokens that a rank has, (T,)."""
    if n_ranks == 1:
        return torch.arange(n_held, device=device)
    early, late = (
        torch.arange(piece * n_held // 2, (piece + 1) * n_held // 2, device=device)
        for piece in (rank, 2 * n_ranks - 1 - rank)
    )
    return torch.cat((early, late))


def divide_context(model: Transformer, mesh: Mesh) -> None:
    """Let a chunk work on this rank's part of every sequence."""
    positions = functools.partial(held_positions, mesh.place("cp"), mesh.plan.cp)
    ring = Ring(mesh.axes("cp").get_group(), mesh.place("cp"), mesh.plan.cp)
    for block in model.blocks():
        block.attention.positions = positions
        block.attention.attend = functools.partial(_RingAttention.apply, ring)
    if model.embedding is not None:
        model.embedding.positions_of = positions


class Ring(NamedTuple):
    """The ranks that share sequences."""

    group: dist.ProcessGroup
    rank: int
    n_ranks: int

    def pass_on(self, block: Tensor) -> tuple[Tensor, list[dist.Work]]:
        """Send a block to the next rank; return that of the one before, and what to wait for."""
        received = torch.empty_like(block)
        after = dist.get_global_rank(self.group, (self.rank + 1) % self.n_ranks)
        before = dist.get_global_rank(self.group, (self.rank - 1) % self.n_ranks)
        works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, block, after, self.group),
                dist.P2POp(dist.irecv, received, before, self.group),
            ]
        )
        return received, works

    def is_later(self, step: int) -> bool:
        """Return whether the block of a step (from 1) comes from a later rank than this one."""
        return step > self.rank


class _Share(NamedTuple):
    """Queries and keys that see each other in one step of the ring; none of them is masked."""

    queries: slice
    keys: slice


def _share(ring: Ring, step: int, n_tokens: int) -> _Share:
    """Return what meets in a step (from 1).

    The early piece of an earlier rank is seen by all queries here, and its late piece by none; both
    pieces of a later rank are seen by the late queries alone.
    """
    half = n_tokens // 2
    if ring.is_later(step):
        return _Share(slice(half, n_tokens), slice(0, n_tokens))
    return _Share(slice(0, n_tokens), slice(0, half))


class _RingAttention(torch.autograd.Function):
    """Causal attention of the queries here to the keys and values of all ranks."""

    @staticmethod
    def forward(ctx: Any, ring: Ring, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor) -> Tensor:
        local = attend(q_BHTK, k_BGTK, v_BGTK, causal=True)
        # copies: selective recompute keeps what the kernel returned
        out_BHTK, logsum_BHT = local.out.to(torch.float32, copy=True), local.logsum.clone()
        block = torch.stack((k_BGTK, v_BGTK))
        coming, works = ring.pass_on(block)
        for step in range(1, ring.n_ranks):
            _wait(works)
            block = coming
            if step + 1 < ring.n_ranks:
                coming, works = ring.pass_on(block)
            queries, keys = _share(ring, step, q_BHTK.shape[2])
            k, v = block[..., keys, :]
            part = attend(q_BHTK[..., queries, :], k, v, causal=False)
            _put_together(out_BHTK[..., queries, :], logsum_BHT[..., queries], part)
        out = out_BHTK.to(q_BHTK.dtype)
        ctx.ring = ring
        ctx.save_for_backward(q_BHTK, k_BGTK, v_BGTK, out, logsum_BHT)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        ring: Ring = ctx.ring
        q_BHTK, k_BGTK, v_BGTK, out_BHTK, logsum_BHT = ctx.saved_tensors
        attended = Attended(out_BHTK, logsum_BHT)
        dq, *dkv = attend_backward(gradient, q_BHTK, k_BGTK, v_BGTK, attended, causal=True)
        own = torch.stack(dkv)
        block, returning = torch.stack((k_BGTK, v_BGTK)), torch.zeros_like(own)
        for step in range(1, ring.n_ranks):
            block, works = ring.pass_on(block)
            _wait(works)
            queries, keys = _share(ring, step, q_BHTK.shape[2])
            k, v = block[..., keys, :]
            here = Attended(out_BHTK[..., queries, :], logsum_BHT[..., queries])
            dq_part, *dkv_part = attend_backward(
                gradient[..., queries, :], q_BHTK[..., queries, :], k, v, here, causal=False
            )
            dq[..., queries, :] += dq_part
            returning[..., keys, :] += torch.stack(dkv_part)
            # to the rank that has this block next, and in the end to the one that it belongs to
            returning, works = ring.pass_on(returning)
            _wait(works)
        own += returning
        return None, dq, own[0], own[1]


def _wait(works: list[dist.Work]) -> None:
    for work in works:
        work.wait()


def _put_together(out: Tensor, logsum: Tensor, part: Attended) -> None:
    """Add a part of the keys to what queries have seen, in place."""
    whole = torch.logaddexp(logsum, part.logsum)
    out.mul_((logsum - whole).exp().unsqueeze(-1))
    out.add_(part.out * (part.logsum - whole).exp().unsqueeze(-1))
    logsum.copy_(whole)
