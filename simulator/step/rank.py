"""One pipeline rank at work, following its row of the schedule.

The rank is its compute stream. Beside it runs one stream of data-parallel collectives. A pass over
a chunk is one piece of work; it is taken apart into layers only where collectives meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from simulator.schedule import Action, Kind
from simulator.step.chunk_costs import ChunkCosts
from simulator.step.links import Input, Links
from simulator.step.moments import Moment, earliest, ever, latest
from simulator.step.spans import SpanKind, Trace
from simulator.step.streams import Stream
from simulator.step.weights import Weights, units_in_order, uses_of

SPAN_KINDS: Mapping[Kind, SpanKind] = {
    "F": "forward",
    "B": "backward",
    "I": "backward",
    "W": "backward-weight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCosts:
    """How data-parallel collectives meet compute.

    The share `overlap` of every collective may run beside compute, `gather_once_overlap` of weights
    gathered once a step. The rest stands alone: before the first pass for weights gathered once a
    step, before each layer for weights gathered for every pass, after the last pass for gradients.
    A backward pass whose gradients are reduced at once (FSDP) ends with their reduction.
    """

    overlap: Moment
    gather_once_overlap: Moment
    gather_every_pass: bool
    reduce_every_microbatch: bool
    contention: Moment
    """Share of its speed that compute loses while a collective runs beside it."""


class Rank:
    """The state and the work of one pipeline rank."""

    def __init__(
        self,
        index: int,
        row: Sequence[Action],
        chunks: Sequence[ChunkCosts],
        links: Links,
        sync: SyncCosts,
        trace: Trace | None = None,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.index = index
        self.held_chunks = tuple(dict.fromkeys(action.chunk for action in row))
        self.clock_s: Moment = 0.0
        """Until when it has worked; in the end, when its gradients are ready."""
        self.compute_s: Moment = 0.0
        self.transfer_s: Moment = 0.0
        """Waiting for transfers between stages."""
        self.collective_s: Moment = 0.0
        """Waiting for data-parallel collectives, or slowed by them."""
        self.bubble_s: Moment = 0.0
        """Waiting for other ranks."""
        self._row = row
        self._chunks = chunks
        self._links = links
        self._sync = sync
        self._trace = trace
        self._draw = draw
        self._pace = 1.0
        """How long the pass at hand takes over its mean."""
        self._collectives = Stream(index, "collectives", trace)
        self._reduce_alone_s: Moment = 0.0
        firsts = {action.chunk: at for at, action in reversed(list(enumerate(row)))}
        lasts = {action.chunk: at for at, action in enumerate(row)}
        self._first_passes = frozenset(firsts.values())
        self._last_passes = frozenset(lasts.values())
        gathering = row if sync.gather_every_pass else [row[at] for at in sorted(firsts.values())]
        self._weights = Weights(
            uses_of(gathering, chunks),
            self._collectives,
            overlap=sync.overlap if sync.gather_every_pass else sync.gather_once_overlap,
            every_pass=sync.gather_every_pass,
        )
        self._gathers = any(ever(chunks[chunk].gather_s) for chunk in self.held_chunks)
        self._contends = ever(sync.contention)

    def run(self) -> Generator[Input | None, None, None]:
        """Follow the row; what is left of the collectives comes after it.

        Yields the input that it needs and that was not sent yet, to go on when it was; or None
        where `clock_s` has moved on.
        """
        self.clock_s = self.collective_s = self._weights.begin()
        yield None
        for at, action in enumerate(self._row):
            needed = self._links.input_of(action)
            start_s = self.clock_s
            if needed is not None:
                if needed not in self._links.arrivals:
                    yield needed
                start_s = self._take(needed)
            self.clock_s = self._pass_end(at, action, start_s)
            yield None
            blocked_s = self._links.send_output(action, self.clock_s)
            if ever(blocked_s):
                self.transfer_s = self.transfer_s + blocked_s
                self.clock_s = self.clock_s + blocked_s
                yield None
        self._drain()
        yield None

    def _take(self, needed: Input) -> Moment:
        """Return when the input is there, and count the waiting for it."""
        sent_s, there_s = self._links.arrivals.pop(needed)
        start_s = latest(self.clock_s, there_s)
        waited_s = start_s - self.clock_s
        in_transfer_s = earliest(waited_s, there_s - sent_s)
        self.transfer_s = self.transfer_s + in_transfer_s
        self.bubble_s = self.bubble_s + waited_s - in_transfer_s
        return start_s

    def _drain(self) -> None:
        """Wait for what the collectives still do when the last pass is done."""
        done_s = self._collectives.submit(
            self.clock_s, self._reduce_alone_s, "reduce", "gradients, not overlapped"
        )
        self.collective_s = self.collective_s + done_s - self.clock_s
        self.clock_s = done_s

    def _pass_end(self, at: int, action: Action, start_s: Moment) -> Moment:
        """Do one pass that may start at `start_s`; return when it is done."""
        chunk, kind, microbatch = action
        costs, sync = self._chunks[chunk], self._sync
        if self._draw is not None:
            self._pace = self._draw()
        gathers = self._gathers and (
            at in self._first_passes or (sync.gather_every_pass and kind != "W")
        )
        reduces = costs.reduces and (
            at in self._last_passes or (sync.reduce_every_microbatch and kind in ("B", "W"))
        )
        if gathers or reduces:
            end_s = self._unit_by_unit(action, start_s, gathers=gathers, reduces=reduces)
        else:
            end_s = self._compute(start_s, costs.durations[kind])
        if self._trace is not None:
            name = f"{kind}{microbatch} chunk {chunk}"
            self._trace.add(
                self.index, "compute", SPAN_KINDS[kind], name, start_s, end_s, chunk, microbatch
            )
            self._trace_exchanges(action, end_s, self._trace)
        return end_s

    def _trace_exchanges(self, action: Action, end_s: Moment, trace: Trace) -> None:
        """Show what nothing hides of a pass's exchanges: those of all its layers, at its end."""
        chunk, kind, microbatch = action
        if kind == "W":
            return
        parts = self._chunks[chunk].forward if kind == "F" else self._chunks[chunk].backward
        shown = [("tp", parts.tp_s), ("cp", parts.cp_s), ("ep", parts.ep_s)]
        start_s = end_s - self._pace * sum(seconds for _, seconds in shown)
        for axis, seconds in shown:
            done_s = start_s + self._pace * seconds
            trace.add(self.index, "exchanges", "exchange", axis, start_s, done_s, chunk, microbatch)
            start_s = done_s

    def _unit_by_unit(
        self, action: Action, start_s: Moment, *, gathers: bool, reduces: bool
    ) -> Moment:
        """Do a pass layer by layer, with its collectives beside it; return when it is done."""
        sync = self._sync
        clock_s = reduced_s = start_s
        for unit in units_in_order(action, self._chunks):
            if gathers:
                there_s = self._weights.arrive(clock_s)
                self.collective_s = self.collective_s + there_s - clock_s
                clock_s = there_s
            clock_s = self._compute(clock_s, unit.durations[action.kind])
            if reduces:
                reduced_s = self._collectives.submit(
                    clock_s, sync.overlap * unit.reduce_s, "reduce", unit.name, chunk=action.chunk
                )
                self._reduce_alone_s = self._reduce_alone_s + (1.0 - sync.overlap) * unit.reduce_s
        if reduces and sync.reduce_every_microbatch:
            self.collective_s = self.collective_s + reduced_s - clock_s
            clock_s = reduced_s
        return clock_s

    def _compute(self, start_s: Moment, work_s: Moment) -> Moment:
        """Compute for `work_s`, slower beside collectives; return when it is done."""
        if self._draw is not None:
            work_s = work_s * self._pace
        self.compute_s = self.compute_s + work_s
        if not self._contends:
            return start_s + work_s
        taken_s = self._collectives.slowed(start_s, work_s, self._sync.contention)
        self.collective_s = self.collective_s + taken_s - work_s
        return start_s + taken_s
