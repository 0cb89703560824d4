"""Sharded weights on their way to one rank: gathered ahead of the passes that need them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from simulator.schedule import Action
from simulator.step.chunk_costs import ChunkCosts, Unit
from simulator.step.moments import Moment, latest
from simulator.step.streams import Stream


class Use(NamedTuple):
    """One pass over one unit that needs its weights."""

    unit: Unit
    held: bool
    """Whether they are still there from the pass before."""


class Weights:
    """What a rank gathers, in the order in which it is used.

    Weights for every pass are fetched one layer ahead, an embedding or head in between together
    with it; the rank waits at least for the share of a gather that does not overlap. Weights for a
    whole step are all fetched at its start, and what does not overlap stands before the first pass.
    """

    def __init__(
        self, uses: Iterable[Use], stream: Stream, *, overlap: Moment, every_pass: bool
    ) -> None:
        self._upcoming = iter(uses)
        self._stream = stream
        self._overlap = overlap
        self._every_pass = every_pass
        self._fetched: deque[tuple[Use, Moment]] = deque()

    def begin(self) -> Moment:
        """Start to gather at the start of a step; return how long the first pass is kept."""
        if self._every_pass:
            self._fetch_next_layer(0.0)
            return 0.0
        uses = list(self._upcoming)
        alone_s = (1.0 - self._overlap) * sum(use.unit.gather_s for use in uses)
        self._stream.submit(0.0, alone_s, "gather", "weights, not overlapped")
        for use in uses:
            self._fetch(use, 0.0, share=self._overlap)
        return alone_s

    def arrive(self, clock_s: Moment) -> Moment:
        """Return when the weights of the next use are there for a rank that waits at `clock_s`."""
        use, done_s = self._fetched.popleft()
        if not use.held:
            alone_s = (1.0 - self._overlap) * use.unit.gather_s if self._every_pass else 0.0
            clock_s = latest(clock_s + alone_s, done_s)
        if use.unit.is_layer:
            self._fetch_next_layer(clock_s)
        return clock_s

    def _fetch_next_layer(self, ready_s: Moment) -> None:
        for use in self._upcoming:
            self._fetch(use, ready_s)
            if use.unit.is_layer:
                return

    def _fetch(self, use: Use, ready_s: Moment, *, share: Moment = 1.0) -> None:
        work_s = 0.0 if use.held else share * use.unit.gather_s
        self._fetched.append((use, self._stream.submit(ready_s, work_s, "gather", use.unit.name)))


def units_in_order(action: Action, chunks: Sequence[ChunkCosts]) -> Sequence[Unit]:
    """Return the units of a pass in the order in which it meets them."""
    units = chunks[action.chunk].units
    return units if action.kind == "F" else units[::-1]


def uses_of(row: Iterable[Action], chunks: Sequence[ChunkCosts]) -> Iterator[Use]:
    """Yield every use of weights in a row; gradients of weights need none.

    The head stays for a backward right after its forward, as FSDP users set it up
    (pytorch/torchtitan: the last group is not resharded after forward).
    """
    before: Unit | None = None
    for action in row:
        if action.kind == "W":
            continue
        for unit in units_in_order(action, chunks):
            yield Use(unit, held=unit is before and action.kind != "F")
            before = unit if action.kind == "F" and not unit.is_layer else None
