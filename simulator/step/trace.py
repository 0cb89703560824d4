"""A simulated step as a Chrome trace: opens in Perfetto (ui.perfetto.dev) and chrome://tracing.

A process per pipeline rank; a thread for its passes, one for the tensor-, context- and
expert-parallel exchanges that show in them, one for its collectives and one for each link it sends
on, and a counter of the memory it holds. Slices on one thread are disjoint or nested, or
Perfetto would drop them.

References
----------
"Trace Event Format", the document of catapult-project/catapult:tracing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from simulator.spec.files import write_atomic
from simulator.step.memory_track import MemoryTrack
from simulator.step.spans import Span, SpanKind

COLOURS: dict[SpanKind, str] = {
    "forward": "thread_state_running",
    "backward": "thread_state_runnable",
    "backward-weight": "thread_state_iowait",
    "exchange": "thread_state_uninterruptible",
    "p2p": "rail_load",
    "gather": "rail_response",
    "reduce": "rail_animation",
    "optimizer": "rail_idle",
    "input": "thread_state_unknown",
    "other": "grey",
}
"""Reserved colour names of the format (Perfetto chooses its own)."""


def chrome_trace(spans: Sequence[Span], *, title: str, memory: Sequence[MemoryTrack] = ()) -> str:
    """Return the trace as JSON text, times in microseconds with nanosecond digits.

    `memory` becomes a counter in GiB on every rank.
    """
    tracks = _number_tracks(spans)
    names = [_metadata("process_name", rank, 0, f"stage {rank}") for rank in _ranks(spans)]
    names += [_metadata("process_sort_index", rank, 0, rank) for rank in _ranks(spans)]
    for (rank, track), thread in tracks.items():
        names.append(_metadata("thread_name", rank, thread, track))
        names.append(_metadata("thread_sort_index", rank, thread, thread))
    slices = [_slice(span, tracks[span.rank, span.track]) for span in _in_order(spans)]
    counters = [_counter(track.rank, *point) for track in memory for point in track.points()]
    events = names + slices + counters
    body = {"displayTimeUnit": "ms", "otherData": {"title": title}, "traceEvents": events}
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def write_chrome_trace(
    path: Path, spans: Sequence[Span], *, title: str, memory: Sequence[MemoryTrack] = ()
) -> None:
    """Write the trace, whole or not at all."""
    write_atomic(path, chrome_trace(spans, title=title, memory=memory))


def _ranks(spans: Iterable[Span]) -> list[int]:
    return sorted({span.rank for span in spans})


def _number_tracks(spans: Iterable[Span]) -> dict[tuple[int, str], int]:
    """Give every track of a rank its number: compute, exchanges, collectives, then links."""
    found = {(span.rank, span.track) for span in spans}
    order = {"compute": 0, "exchanges": 1, "collectives": 2}
    ordered = sorted(found, key=lambda key: (key[0], order.get(key[1], 3), key[1]))
    counts: Counter[int] = Counter()
    numbers: dict[tuple[int, str], int] = {}
    for rank, track in ordered:
        counts[rank] += 1
        numbers[rank, track] = counts[rank]
    return numbers


def _in_order(spans: Iterable[Span]) -> list[Span]:
    """Earlier first, and of those that begin together the longer first, so that it encloses."""
    return sorted(spans, key=lambda span: (span.rank, span.track, span.start_s, -span.end_s))


def _metadata(what: str, process: int, thread: int, value: str | int) -> dict[str, object]:
    key = "sort_index" if what.endswith("sort_index") else "name"
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {key: value}}


def _counter(rank: int, time_s: float, held_bytes: float) -> dict[str, object]:
    return {
        "ph": "C",
        "name": "memory (GiB)",
        "pid": rank,
        "ts": round(time_s * 1e6, 3),
        "args": {"held": round(held_bytes / 2**30, 4)},
    }


def _slice(span: Span, thread: int) -> dict[str, object]:
    start_us, end_us = round(span.start_s * 1e6, 3), round(span.end_s * 1e6, 3)
    return {
        "ph": "X",
        "name": span.name,
        "cat": span.kind,
        "cname": COLOURS[span.kind],
        "pid": span.rank,
        "tid": thread,
        "ts": start_us,
        "dur": round(end_us - start_us, 3),
        "args": {
            key: value
            for key, value in (("chunk", span.chunk), ("microbatch", span.microbatch))
            if value >= 0
        },
    }
