"""Streams of work on one rank, one job at a time: collectives beside compute, and links.

Because a job's duration is known when it comes, the whole queue is one number, the time when it
will be empty: the n-th job ends at max(its coming, end of the job before) + its duration. That is
what a `simpy.Resource` of capacity 1 does, without an event per job; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.step.moments import Moment, earliest, latest
from simulator.step.spans import SpanKind, Trace


@dataclass(slots=True)
class Stream:
    """A first-come, first-served queue of one server."""

    rank: int
    track: str
    trace: Trace | None = None
    free_at_s: Moment = 0.0
    """When everything submitted so far is done."""

    def submit(
        self,
        ready_s: Moment,
        duration_s: Moment,
        kind: SpanKind,
        name: str,
        *,
        chunk: int = -1,
        microbatch: int = -1,
    ) -> Moment:
        """Queue a job that comes at `ready_s`; return when it is done.

        Jobs must be submitted in the order in which they come.
        """
        start_s = latest(ready_s, self.free_at_s)
        self.free_at_s = start_s + duration_s
        if self.trace is not None:
            self.trace.add(
                self.rank, self.track, kind, name, start_s, self.free_at_s, chunk, microbatch
            )
        return self.free_at_s

    def slowed(self, start_s: Moment, work_s: Moment, contention: Moment) -> Moment:
        """Return how long `work_s` of computing takes beside what is queued here.

        While the stream is busy, computing goes on at (1 - contention) of its speed.
        """
        beside_s = latest(self.free_at_s - start_s, 0.0)
        return earliest(
            work_s / latest(1.0 - contention, STANDSTILL), work_s + contention * beside_s
        )


STANDSTILL = 1e-12
"""Speed of compute that collectives stop altogether."""
