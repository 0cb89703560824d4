"""Memory over the step: what every rank holds when, as the event simulation runs its passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from simulator.cost.chunk_memory import PlanMemory
from simulator.step.spans import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTrack:
    """What one pipeline rank holds: a step function."""

    rank: int
    times_s: tuple[float, ...]
    """When it changes; the first is 0."""
    held_bytes: tuple[float, ...]
    """From each of these times on."""

    def points(self) -> Iterator[tuple[float, float]]:
        """Yield (time in s, bytes held from then on)."""
        yield from zip(self.times_s, self.held_bytes, strict=True)

    @property
    def peak_bytes(self) -> float:
        """The most it holds."""
        return max(self.held_bytes)

    @property
    def peak_s(self) -> float:
        """When it first holds that."""
        return self.times_s[self.held_bytes.index(self.peak_bytes)]


def memory_tracks(memory: PlanMemory, spans: Sequence[Span]) -> tuple[MemoryTrack, ...]:
    """Return the track of every rank for the spans of one step.

    A forward pass keeps its activations until the backward of the same chunk and microbatch is
    done, or the gradients of the weights where these are put off.
    """
    rows: dict[int, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_s):
        if span.track == "compute":
            rows[span.rank].append(span)
    return tuple(_track(memory, rank, rows[rank]) for rank in range(len(memory.ranks)))


def fullest(tracks: Sequence[MemoryTrack]) -> MemoryTrack:
    """Return the track with the highest peak; the first of equals."""
    return max(tracks, key=lambda track: track.peak_bytes)


def _track(memory: PlanMemory, rank: int, row: Sequence[Span]) -> MemoryTrack:
    """Follow the row pass by pass: the compute stream does one thing at a time."""
    own = memory.ranks[rank]
    put_off = {(span.chunk, span.microbatch) for span in row if span.kind == "backward-weight"}
    last_pass = max((at for at, span in enumerate(row) if span.microbatch >= 0), default=-1)
    tensors = own.states_bytes + own.pass_buffers_bytes
    times, held = [0.0], [memory.used_bytes(rank, tensors)]
    for at, span in enumerate(row):
        before, after = _changes(memory, rank, span, put_off)
        if at == last_pass:
            after -= own.pass_buffers_bytes
        for time_s, change_bytes in ((span.start_s, before), (span.end_s, after)):
            tensors += change_bytes
            if change_bytes:
                times.append(max(time_s, times[-1]))
                held.append(memory.used_bytes(rank, tensors))
    return MemoryTrack(rank=rank, times_s=tuple(times), held_bytes=tuple(held))


def _changes(
    memory: PlanMemory, rank: int, span: Span, put_off: Set[tuple[int, int]]
) -> tuple[float, float]:
    """Return how many bytes more there are when a span begins, and when it ends."""
    own = memory.ranks[rank]
    if span.kind == "optimizer":
        return own.update_buffers_bytes, -own.update_buffers_bytes
    if span.microbatch < 0:
        return 0.0, 0.0
    chunk = memory.chunks[span.chunk]
    if span.kind == "forward":
        return chunk.kept_bytes + chunk.saved_logits_bytes, 0.0
    if span.kind == "backward-weight":
        return 0.0, -chunk.kept_bytes
    during = own.working_bytes + chunk.loss_bytes
    split = (span.chunk, span.microbatch) in put_off
    released = chunk.saved_logits_bytes + (0.0 if split else chunk.kept_bytes)
    return during, -during - released
