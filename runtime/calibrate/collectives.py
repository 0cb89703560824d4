"""Collectives of a process group, timed per operation and size."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist

from runtime.calibrate.findings import CollectivePoint
from runtime.calibrate.timing import Together
from simulator.spec.cluster import CollectiveName

GROUP_OPERATIONS: tuple[CollectiveName, ...] = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
)
"""Those in which every rank of a group takes part."""
ELEMENT_BYTES = 4


def measure_collectives(
    sizes_bytes: tuple[int, ...],
    group: dist.ProcessGroup,
    n_ranks: int,
    together: Together,
    *,
    window_s: float,
) -> list[CollectivePoint]:
    """Time every collective of a group of n ranks, while all that measure together do the same."""
    return [
        CollectivePoint(
            operation=operation,
            n_ranks=n_ranks,
            n_busy_ranks=together.n_ranks,
            message_bytes=size,
            time_s=together.seconds_per_call(
                _call(operation, size, n_ranks, group), window_s=window_s
            ),
        )
        for size in sizes_bytes
        for operation in (*GROUP_OPERATIONS, *(("p2p",) if n_ranks == 2 else ()))
    ]


def _call(
    operation: CollectiveName, size_bytes: int, n_ranks: int, group: dist.ProcessGroup
) -> Callable[[], object]:
    n_values = size_bytes // ELEMENT_BYTES // n_ranks * n_ranks
    whole, other = torch.zeros(n_values), torch.zeros(n_values)
    part = torch.zeros(n_values // n_ranks)
    if operation == "all-reduce":
        return lambda: dist.all_reduce(whole, group=group)
    if operation == "all-gather":
        return lambda: dist.all_gather_single(whole, part, group=group)
    if operation == "reduce-scatter":
        return lambda: dist.reduce_scatter_single(part, whole, group=group)
    if operation == "all-to-all":
        return lambda: dist.all_to_all_single(other, whole, group=group)
    return _message(whole, group)


def _message(values: torch.Tensor, group: dist.ProcessGroup) -> Callable[[], object]:
    """Each rank with an odd number in the group receives from the one before it."""
    rank = dist.get_rank(group)
    if rank % 2:
        return lambda: dist.recv(values, group=group, group_src=rank - 1)
    return lambda: dist.send(values, group=group, group_dst=rank + 1)
