"""In which order one pipeline rank works: one function per family of schedules."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.schedule.action import BACKWARD, FORWARD, Action
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


def interleaved(shape: Shape, rank: int) -> list[Action]:
    """1F1B over several chunks per rank, a round of microbatches on each chunk in turn.

    A round is pp microbatches; when their number is not a multiple of pp, rounds grow so that they
    are equal (torch's rule), and a number that cannot be divided so is refused.

    References
    ----------
    Narayanan et al. 2021, section 2.2; pytorch/pytorch:torch/distributed/pipelining/schedules.py
    `ScheduleInterleaved1F1B`.
    """
    n_rounds = max(1, shape.n_microbatches // shape.pp)
    if shape.n_microbatches % n_rounds:
        raise InputError(
            f"interleaved-1f1b cannot divide n_microbatches={shape.n_microbatches} into "
            f"{n_rounds} equal rounds over pp={shape.pp} ranks",
            fix=f"make n_microbatches a multiple of {shape.pp}",
        )
    round_size = shape.n_microbatches // n_rounds
    n_ahead = (shape.virtual_stages - 1) * round_size + 2 * (shape.pp - 1 - rank)
    return _alternate(shape, rank, n_ahead=n_ahead, round_size=round_size)


def _alternate(shape: Shape, rank: int, *, n_ahead: int, round_size: int) -> list[Action]:
    """Run `n_ahead` forwards, then a forward and a backward in turn, then the rest backwards."""
    chunks = range(rank, shape.n_chunks, shape.pp)
    passes = [
        (chunk, microbatch)
        for start in range(0, shape.n_microbatches, round_size)
        for chunk in chunks
        for microbatch in range(start, start + round_size)
    ]
    backward_chunk = dict(zip(chunks, reversed(chunks), strict=True))
    forwards = [Action(chunk, FORWARD, microbatch) for chunk, microbatch in passes]
    backwards = [
        Action(backward_chunk[chunk], BACKWARD, microbatch) for chunk, microbatch in passes
    ]
    n_ahead = min(n_ahead, len(passes))
    n_alternating = len(passes) - n_ahead
    order = forwards[:n_ahead]
    for forward, backward in zip(forwards[n_ahead:], backwards[:n_alternating], strict=True):
        order += (forward, backward)
    return order + backwards[n_alternating:]
