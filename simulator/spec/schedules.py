"""Pipeline schedules by name, and what can be said of one without writing it down.

The orders themselves are in `simulator.schedule`; legality, placement and targets need no more than
these traits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

ScheduleName = Literal[
    "gpipe",
    "1f1b",
    "interleaved-1f1b",
    "looped-bfs",
    "zero-bubble",
    "zb-h2",
    "zb-v",
    "dualpipe-v",
]

MANY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleTraits:
    """What a plan has to know of a schedule."""

    fewest_chunks: int = 1
    most_chunks: int = 1
    """Chunks of a rank."""
    v_shaped: bool = False
    """Whether rank r holds chunks r and 2 pp - 1 - r; otherwise r, r + pp, r + 2 pp, ..."""
    whole_rounds: bool = False
    """Whether several chunks need a multiple of pp microbatches."""
    rounds_at_least: int = 0
    """Fewest microbatches, over pp."""
    splits_backward: bool = False
    """Whether gradients of weights are put off."""
    description: str


SCHEDULE_TRAITS: Mapping[ScheduleName, ScheduleTraits] = {
    "gpipe": ScheduleTraits(description="all forwards, then all backwards"),
    "1f1b": ScheduleTraits(
        description="one forward, one backward in turn; at most pp microbatches in flight"
    ),
    "interleaved-1f1b": ScheduleTraits(
        most_chunks=MANY,
        whole_rounds=True,
        description="1f1b over several chunks per rank; the bubble shrinks by their number",
    ),
    "looped-bfs": ScheduleTraits(
        most_chunks=MANY,
        description="every microbatch through a chunk before the next chunk",
    ),
    "zero-bubble": ScheduleTraits(
        most_chunks=MANY,
        whole_rounds=True,
        splits_backward=True,
        description="gradients of weights fill the bubble; ZB-H1 with one chunk per rank",
    ),
    "zb-h2": ScheduleTraits(
        splits_backward=True,
        description="no bubble between a rank's first and last pass; twice the activations of 1f1b",
    ),
    "zb-v": ScheduleTraits(
        fewest_chunks=2,
        most_chunks=2,
        v_shaped=True,
        splits_backward=True,
        description="chunks in a V, gradients of weights put off: no bubble with even passes",
    ),
    "dualpipe-v": ScheduleTraits(
        fewest_chunks=2,
        most_chunks=2,
        v_shaped=True,
        rounds_at_least=2,
        splits_backward=True,
        description="chunks in a V, forwards and backwards of both directions paired",
    ),
}


def rank_of_chunk(schedule: ScheduleName, pp: int, chunk: int) -> int:
    """Return the pipeline rank that holds a chunk."""
    if SCHEDULE_TRAITS[schedule].v_shaped:
        return min(chunk, 2 * pp - 1 - chunk)
    return chunk % pp


def able_with(virtual_stages: int) -> list[ScheduleName]:
    """Return the schedules that can have so many chunks per rank."""
    return [
        name
        for name, traits in SCHEDULE_TRAITS.items()
        if traits.fewest_chunks <= virtual_stages <= traits.most_chunks
    ]
