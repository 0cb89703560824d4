"""What happened when, on which track: the raw material of traces and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from simulator.step.moments import Moment

SpanKind = Literal[
    "forward",
    "backward",
    "backward-weight",
    "exchange",
    "p2p",
    "gather",
    "reduce",
    "optimizer",
    "input",
    "other",
]


class Span(NamedTuple):
    """One thing on one track of one pipeline rank."""

    rank: int
    track: str
    """'compute', 'exchanges', 'collectives' or 'to rank N'."""
    kind: SpanKind
    name: str
    start_s: float
    end_s: float
    chunk: int = -1
    """-1 where it belongs to no chunk."""
    microbatch: int = -1


@dataclass(slots=True)
class Trace:
    """A collector of spans of one plan; tracks never overlap themselves."""

    spans: list[Span] = field(default_factory=list)

    def add(
        self,
        rank: int,
        track: str,
        kind: SpanKind,
        name: str,
        start_s: Moment,
        end_s: Moment,
        chunk: int = -1,
        microbatch: int = -1,
    ) -> None:
        """Keep a span unless it takes no time."""
        span = Span(rank, track, kind, name, float(start_s), float(end_s), chunk, microbatch)
        if span.end_s > span.start_s:
            self.spans.append(span)
