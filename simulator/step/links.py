"""Activations and gradients on their way between pipeline ranks."""

from __future__ import annotations

from typing import NamedTuple

import simpy

from simulator.schedule import Action, Schedule
from simulator.step.spans import Trace
from simulator.step.streams import Stream


class Arrival(NamedTuple):
    """When an input was sent off and when it is there."""

    sent_s: float
    there_s: float


ALWAYS_THERE = Arrival(0.0, 0.0)


class Links:
    """One link in each direction between every two ranks that exchange something.

    A transfer occupies its link for `transfer_s`, and its sender's compute stream for the share of
    it that does not overlap.
    """

    def __init__(
        self,
        environment: simpy.Environment,
        schedule: Schedule,
        *,
        transfer_s: float,
        overlap: float,
        trace: Trace | None,
    ) -> None:
        self._environment = environment
        self._transfer_s = transfer_s
        self._blocking_s = transfer_s * (1.0 - overlap)
        self._trace = trace
        self._last_chunk = schedule.n_chunks - 1
        self._rank_of_chunk = schedule.rank_of_chunk()
        self._links: dict[tuple[int, int], Stream] = {}
        self._arrivals: dict[tuple[int, bool, int], Arrival] = {}
        self._awaited: dict[tuple[int, bool, int], simpy.Event] = {}

    def input_of(self, action: Action) -> Arrival | simpy.Event:
        """Return when the input of `action` is there, or the event of its being sent off."""
        chunk, kind, microbatch = action
        if kind == "W" or chunk == (0 if kind == "F" else self._last_chunk):
            return ALWAYS_THERE
        key = (chunk, kind == "F", microbatch)
        arrival = self._arrivals.pop(key, None)
        if arrival is not None:
            return arrival
        event = self._awaited[key] = self._environment.event()
        return event

    def send_output(self, action: Action) -> float:
        """Send what `action` has produced; return how long that keeps the sender's compute."""
        chunk, kind, microbatch = action
        target = chunk + 1 if kind == "F" else chunk - 1
        if kind == "W" or not 0 <= target <= self._last_chunk:
            return 0.0
        now_s = self._environment.now
        sender, receiver = self._rank_of_chunk[chunk], self._rank_of_chunk[target]
        if sender == receiver:
            arrival, blocked_s = Arrival(now_s, now_s), 0.0
        else:
            link = self._links.get((sender, receiver))
            if link is None:
                link = Stream(sender, f"to rank {receiver}", self._trace)
                self._links[sender, receiver] = link
            there_s = link.submit(
                now_s, self._transfer_s, "p2p", kind, chunk=chunk, microbatch=microbatch
            )
            arrival = Arrival(now_s, there_s)
            blocked_s = max(0.0, there_s - self._transfer_s + self._blocking_s - now_s)
        key = (target, kind == "F", microbatch)
        awaited = self._awaited.pop(key, None)
        if awaited is None:
            self._arrivals[key] = arrival
        else:
            awaited.succeed(arrival)
        return blocked_s
