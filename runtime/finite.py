"""Numbers that are not finite: whose they are, so that a broken rank is told from a bad recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from runtime.failure import RankFailure
from runtime.optimizer import UpdateResult


def are_finite(weights: Iterable[nn.Parameter]) -> bool:
    """Return whether all of this rank's share of the weights is finite."""
    local = (weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights)
    return all(bool(torch.isfinite(values).all()) for values in local)


def first_spoilt_rank(weights: Iterable[nn.Parameter], device: torch.device) -> int | None:
    """Return the first rank that holds weights that are not finite; every rank must call it."""
    n_ranks = dist.get_world_size()
    rank = torch.tensor(n_ranks if are_finite(weights) else dist.get_rank(), device=device)
    dist.all_reduce(rank, op=dist.ReduceOp.MIN)
    first = int(rank.item())
    return first if first < n_ranks else None


def not_finite(
    result: UpdateResult, step: int, weights: Iterable[nn.Parameter], device: torch.device
) -> RankFailure:
    """Return the error for a step whose weights were not updated; every rank must call it."""
    rank = first_spoilt_rank(weights, device)
    numbers = f"loss {result.loss} and gradient norm {result.grad_norm} in step {step}"
    if rank is None:
        return RankFailure(
            numbers,
            cause="not finite",
            rank=None,
            fix="lower run.learning_rate or lengthen run.warmup_steps",
        )
    return RankFailure(
        f"{numbers}: weights of rank {rank} are not finite, and its last update was",
        cause="not finite",
        rank=rank,
        fix="go on with --resume; if it is the same rank again, its device or memory is broken",
    )
