"""How long a call takes on a machine whose cores others may use too."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.distributed as dist

CHUNK_S = 0.025
"""Long enough to hold several time slices of the scheduler (3-6 ms on Linux)."""
MAX_CALLS = 60


def seconds_per_call(call: Callable[[], object], *, window_s: float) -> float:
    """Return the typical duration of a call in seconds.

    The window is cut into chunks that outlast the scheduler's time slices, so that each chunk pays
    for the ranks it shares a core with; the median of the chunks counts, as it does for the steps
    of a run.
    """
    call()
    begin = time.perf_counter()
    call()
    once_s = time.perf_counter() - begin
    n_calls = max(1, round(CHUNK_S / max(once_s, 1e-7)))
    end = time.perf_counter() + window_s
    chunks: list[float] = []
    while not chunks or time.perf_counter() < end:
        begin = time.perf_counter()
        for _ in range(n_calls):
            call()
        chunks.append((time.perf_counter() - begin) / n_calls)
    return statistics.median(chunks)


class Together:
    """Ranks that measure side by side."""

    def __init__(self, group: dist.ProcessGroup, n_ranks: int) -> None:
        self.group = group
        self.n_ranks = n_ranks

    def meet(self) -> None:
        """Wait for the others."""
        dist.barrier(group=self.group)

    def slowest(self, seconds: list[float]) -> list[float]:
        """Return the largest value of all ranks, one by one."""
        values = torch.tensor(seconds, dtype=torch.float64)
        dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self.group)
        return [float(value) for value in values]

    def seconds_per_call(self, call: Callable[[], object], *, window_s: float) -> float:
        """Return the typical duration of a collective: of the slowest rank, after a barrier.

        Every rank must make the same calls, so their number is agreed on first.
        """
        call()
        begin = time.perf_counter()
        call()
        once_s = self.slowest([time.perf_counter() - begin])[0]
        n_calls = max(3, min(MAX_CALLS, round(window_s / once_s)))
        seconds: list[float] = []
        for _ in range(n_calls):
            self.meet()
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
        return statistics.median(self.slowest(seconds))
