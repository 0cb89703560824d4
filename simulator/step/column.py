"""One pipeline column: a rank of every stage, which stand for all ranks that do the same.

Ranks of one tensor-, context- and data-parallel group do the same at the same time, so the cost
does not grow with the number of devices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence

from simulator.cost.step_costs import StepCosts
from simulator.schedule import Schedule
from simulator.step.chunk_costs import ChunkCosts
from simulator.step.links import Input, Links
from simulator.step.moments import plain
from simulator.step.rank import Rank, SyncCosts
from simulator.step.spans import Trace
from simulator.step.stragglers import Draw


def column_ranks(
    costs: StepCosts,
    schedule: Schedule,
    chunks: Sequence[ChunkCosts],
    on_sent: Callable[[Input], None],
    trace: Trace | None = None,
    draws: Sequence[Draw | None] = (),
) -> list[Rank]:
    """Return the ranks of a column, linked to each other; `on_sent` hears of every transfer.

    Several rows of `costs` must gather and reduce equally often. `draws` is the jitter of every
    rank.
    """
    links = Links(
        schedule,
        transfer_s=plain(costs.p2p_s),
        overlap=plain(costs.p2p_overlap),
        on_sent=on_sent,
        trace=trace,
    )
    every_pass = bool(costs.gather_every_pass[0])
    # Weights for every pass are on the stream whole, and beside compute with the share that hides.
    beside = costs.dp_overlap if every_pass else 1.0
    sync = SyncCosts(
        overlap=plain(costs.dp_overlap),
        gather_once_overlap=plain(costs.gather_once_overlap),
        gather_every_pass=every_pass,
        reduce_every_microbatch=bool(costs.reduce_every_microbatch[0]),
        contention=plain(costs.dp_contention * beside),
    )
    jitter = draws or [None] * schedule.pp
    return [
        Rank(index, row, chunks, links, sync, trace, jitter[index])
        for index, row in enumerate(schedule.ranks)
    ]


def replayed(costs: StepCosts, schedule: Schedule, chunks: Sequence[ChunkCosts]) -> Sequence[Rank]:
    """Return the ranks after one step, worked out in the order in which they wait for each other.

    Nothing they do depends on who is first, so this needs no clock, and all rows of `costs` go
    through it together.
    """
    waiting: dict[Input, Generator[Input | None, None, None]] = {}
    runnable: deque[Generator[Input | None, None, None]] = deque()

    def wake(sent: Input) -> None:
        if sent in waiting:
            runnable.append(waiting.pop(sent))

    ranks = column_ranks(costs, schedule, chunks, wake)
    runnable.extend(rank.run() for rank in ranks)
    while runnable:
        work = runnable.popleft()
        for needed in work:
            if needed is not None:
                waiting[needed] = work
                break
    assert not waiting, "a schedule is checked to be executable"
    return ranks
