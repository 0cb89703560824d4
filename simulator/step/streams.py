"""Things that do one job at a time, in the order in which jobs come: streams and links.

Because a job's duration is known when it comes, the whole queue is one number, the time when it
will be empty: the n-th job ends at max(its coming, end of the job before) + its duration. That is
what a `simpy.Resource` of capacity 1 does, without an event per job; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.step.spans import Span, SpanKind, Trace


@dataclass(slots=True)
class Stream:
    """A first-come, first-served queue of one server."""

    rank: int
    track: str
    trace: Trace | None = None
    free_at_s: float = 0.0
    """When everything submitted so far is done."""

    def submit(
        self,
        ready_s: float,
        duration_s: float,
        kind: SpanKind,
        name: str,
        *,
        chunk: int = -1,
        microbatch: int = -1,
    ) -> float:
        """Queue a job that comes at `ready_s`; return when it is done.

        Jobs must be submitted in the order in which they come.
        """
        start_s = max(ready_s, self.free_at_s)
        self.free_at_s = start_s + duration_s
        if self.trace is not None:
            self.trace.add(
                Span(self.rank, self.track, kind, name, start_s, self.free_at_s, chunk, microbatch)
            )
        return self.free_at_s

    def slowed(self, start_s: float, work_s: float, contention: float) -> float:
        """Return how long `work_s` of computing takes beside what is queued here.

        While the stream is busy, computing goes on at (1 - contention) of its speed.
        """
        if contention == 0.0 or self.free_at_s <= start_s:
            return work_s
        return min(work_s / (1.0 - contention), work_s + contention * (self.free_at_s - start_s))
