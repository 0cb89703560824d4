"""In which order one pipeline rank works: one function per family of schedules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from simulator.schedule.action import (
    BACKWARD,
    BACKWARD_INPUT,
    BACKWARD_WEIGHT,
    FORWARD,
    Action,
    Kind,
)
from simulator.spec.errors import InputError


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that a schedule is made for."""

    pp: int
    virtual_stages: int
    n_microbatches: int

    @property
    def n_chunks(self) -> int:
        """Model pieces over all ranks."""
        return self.pp * self.virtual_stages


def gpipe(shape: Shape, rank: int) -> list[Action]:
    """All forwards, then all backwards, microbatches in order in both.

    References
    ----------
    Huang et al. 2019, "GPipe"; pytorch/pytorch:torch/distributed/pipelining/schedules.py.
    """
    microbatches = range(shape.n_microbatches)
    forwards = [Action(rank, FORWARD, microbatch) for microbatch in microbatches]
    return forwards + [Action(rank, BACKWARD, microbatch) for microbatch in microbatches]


def one_forward_one_backward(shape: Shape, rank: int) -> list[Action]:
    """Rank r runs pp - 1 - r forwards ahead, then alternates, then drains.

    References
    ----------
    Narayanan et al. 2021, "Efficient large-scale language model training" (PipeDream-flush).
    """
    return _alternate(shape, rank, n_ahead=shape.pp - 1 - rank, round_size=shape.n_microbatches)


def looped_breadth_first(shape: Shape, rank: int) -> list[Action]:
    """All microbatches through a chunk before the next one; backwards in the opposite order.

    References
    ----------
    Lamy-Poirier 2022, "Breadth-first pipeline parallelism";
    pytorch/pytorch:torch/distributed/pipelining/schedules.py `ScheduleLoopedBFS`.
    """
    chunks, microbatches = range(rank, shape.n_chunks, shape.pp), range(shape.n_microbatches)
    passes = [(chunk, microbatch) for chunk in chunks for microbatch in microbatches]
    forwards = [Action(chunk, FORWARD, microbatch) for chunk, microbatch in passes]
    return forwards + [Action(chunk, BACKWARD, microbatch) for chunk, microbatch in passes[::-1]]


def interleaved(shape: Shape, rank: int) -> list[Action]:
    """1F1B over several chunks per rank, a round of microbatches on each chunk in turn.

    References
    ----------
    Narayanan et al. 2021, section 2.2; pytorch/pytorch:torch/distributed/pipelining/schedules.py
    `ScheduleInterleaved1F1B`.
    """
    round_size = _round_size(shape)
    n_ahead = (shape.virtual_stages - 1) * round_size + 2 * (shape.pp - 1 - rank)
    return _alternate(shape, rank, n_ahead=n_ahead, round_size=round_size)


def zero_bubble(shape: Shape, rank: int) -> list[Action]:
    """Interleaved, half as far ahead: gradients of weights, put off by `rank` passes, fill the gap.

    With one chunk per rank it is ZB-H1.

    References
    ----------
    Qi et al. 2023, "Zero bubble pipeline parallelism", section 2.3;
    pytorch/pytorch:torch/distributed/pipelining/schedules.py `ScheduleInterleavedZeroBubble`.
    """
    round_size = _round_size(shape)
    n_ahead = (shape.virtual_stages - 1) * round_size + shape.pp - 1 - rank
    return _alternate(shape, rank, n_ahead=n_ahead, round_size=round_size, weights_behind=rank)


def zero_bubble_h2(shape: Shape, rank: int) -> list[Action]:
    """Twice as far ahead as 1F1B, so that no rank waits between its first and its last pass.

    Rank r begins r forwards late and ends as much later: the optimizer, which waits for all of
    them, sees pp - 1 forwards of idle time unless it is validated after the fact, as the paper has
    it.

    References
    ----------
    Qi et al. 2023, "Zero bubble pipeline parallelism", section 2.3 (ZB-H2).
    """
    n_ahead = 2 * (shape.pp - 1 - rank)
    return _alternate(
        shape, rank, n_ahead=n_ahead, round_size=shape.n_microbatches, weights_behind=2 * rank
    )


def _round_size(shape: Shape) -> int:
    """Return the microbatches that go through one chunk before the next chunk's turn.

    A round is pp microbatches; when their number is not a multiple of pp, rounds grow so that they
    are equal (torch's rule), and a number that cannot be divided so is refused.
    """
    if shape.virtual_stages == 1:
        return shape.n_microbatches
    n_rounds = max(1, shape.n_microbatches // shape.pp)
    if shape.n_microbatches % n_rounds:
        raise InputError(
            f"interleaved chunks cannot divide n_microbatches={shape.n_microbatches} into "
            f"{n_rounds} equal rounds over pp={shape.pp} ranks",
            fix=f"make n_microbatches a multiple of {shape.pp}",
        )
    return shape.n_microbatches // n_rounds


def _alternate(
    shape: Shape, rank: int, *, n_ahead: int, round_size: int, weights_behind: int | None = None
) -> list[Action]:
    """Run `n_ahead` forwards, then a forward and a backward in turn, then the rest backwards.

    With `weights_behind` backwards are split, and the gradients of weights follow that many
    backwards later.
    """
    chunks = range(rank, shape.n_chunks, shape.pp)
    passes = [
        (chunk, microbatch)
        for start in range(0, shape.n_microbatches, round_size)
        for chunk in chunks
        for microbatch in range(start, start + round_size)
    ]
    mirrored = dict(zip(chunks, reversed(chunks), strict=True))
    backward: Kind = BACKWARD if weights_behind is None else BACKWARD_INPUT
    forwards = [Action(chunk, FORWARD, microbatch) for chunk, microbatch in passes]
    backwards = [Action(mirrored[chunk], backward, microbatch) for chunk, microbatch in passes]
    n_ahead = min(n_ahead, len(passes))
    order, upcoming = forwards[:n_ahead], iter(forwards[n_ahead:])
    put_off = deque(each._replace(kind=BACKWARD_WEIGHT) for each in backwards)
    for at, each in enumerate(backwards):
        order += [*islice(upcoming, 1), each]
        if weights_behind is not None and at >= weights_behind:
            order.append(put_off.popleft())
    return order if weights_behind is None else [*order, *put_off]
