"""Activations and gradients on their way between pipeline ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from simulator.schedule import Action, Schedule
from simulator.step.moments import Moment, latest
from simulator.step.spans import Trace
from simulator.step.streams import Stream


class Arrival(NamedTuple):
    """When an input was sent off and when it is there."""

    sent_s: Moment
    there_s: Moment


class Input(NamedTuple):
    """What a pass waits for: an activation (forward) or a gradient, from another chunk."""

    chunk: int
    forward: bool
    microbatch: int


class Links:
    """One link in each direction between every two ranks that exchange something.

    A transfer occupies its link for `transfer_s`, and its sender's compute stream for the share of
    it that does not overlap.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        transfer_s: Moment,
        overlap: Moment,
        on_sent: Callable[[Input], None],
        trace: Trace | None = None,
    ) -> None:
        self.arrivals: dict[Input, Arrival] = {}
        """What was sent and not yet taken."""
        self._transfer_s = transfer_s
        self._blocking_s = transfer_s * (1.0 - overlap)
        self._on_sent = on_sent
        self._trace = trace
        self._last_chunk = schedule.n_chunks - 1
        self._rank_of_chunk = schedule.rank_of_chunk()
        self._links: dict[tuple[int, int], Stream] = {}

    def input_of(self, action: Action) -> Input | None:
        """Return what `action` needs from another chunk."""
        chunk, kind, microbatch = action
        if kind == "W" or chunk == (0 if kind == "F" else self._last_chunk):
            return None
        return Input(chunk, kind == "F", microbatch)

    def send_output(self, action: Action, now_s: Moment) -> Moment:
        """Send what `action` has produced; return how long that keeps the sender's compute."""
        chunk, kind, microbatch = action
        target = chunk + 1 if kind == "F" else chunk - 1
        if kind == "W" or not 0 <= target <= self._last_chunk:
            return 0.0
        sender, receiver = self._rank_of_chunk[chunk], self._rank_of_chunk[target]
        there_s: Moment = now_s
        blocked_s: Moment = 0.0
        if sender != receiver:
            link = self._links.get((sender, receiver))
            if link is None:
                link = Stream(sender, f"to rank {receiver}", self._trace)
                self._links[sender, receiver] = link
            there_s = link.submit(
                now_s, self._transfer_s, "p2p", kind, chunk=chunk, microbatch=microbatch
            )
            blocked_s = latest(there_s - self._transfer_s + self._blocking_s - now_s, 0.0)
        sent = Input(target, kind == "F", microbatch)
        self.arrivals[sent] = Arrival(now_s, there_s)
        self._on_sent(sent)
        return blocked_s
