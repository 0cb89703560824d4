"""Whether a schedule can be executed: every pass once, and no rank waits in a circle."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from simulator.schedule.action import Action
from simulator.spec.errors import InputError

Ranks = Sequence[Sequence[Action]]

MAX_PASSES = 20_000_000
"""Chunks x microbatches of one schedule; a table with more is refused."""


def check_executable(ranks: Ranks, *, n_chunks: int, n_microbatches: int) -> None:
    """Raise InputError naming the first rank and action that cannot be executed as written."""
    if n_chunks * n_microbatches > MAX_PASSES:
        raise InputError(
            f"{n_chunks} chunks x {n_microbatches} microbatches: more than {MAX_PASSES} passes"
        )
    _check_passes(ranks, n_chunks, n_microbatches)
    _check_order(ranks, n_chunks, n_microbatches)


_BIT = {"F": 1, "B": 2, "I": 4, "W": 8}
_COMPLETE = (_BIT["F"] | _BIT["B"], _BIT["F"] | _BIT["I"] | _BIT["W"])


def _check_passes(ranks: Ranks, n_chunks: int, n_microbatches: int) -> None:
    """Every chunk sits on one rank and does F and B (or I and W) once per microbatch."""
    home: dict[int, int] = {}
    seen = bytearray(n_chunks * n_microbatches)
    for rank, row in enumerate(ranks):
        for action in row:
            chunk, kind, microbatch = action
            if not (0 <= chunk < n_chunks and 0 <= microbatch < n_microbatches):
                raise InputError(
                    f"{action} is outside {n_chunks} chunks and {n_microbatches} microbatches"
                )
            if home.setdefault(chunk, rank) != rank:
                raise InputError(
                    f"{action}: chunk {chunk} is on rank {home[chunk]} and on rank {rank}",
                    fix="keep all passes of a chunk on one rank",
                )
            slot = chunk * n_microbatches + microbatch
            if seen[slot] & _BIT[kind]:
                raise InputError(f"{action} appears twice", fix="keep one")
            seen[slot] |= _BIT[kind]
    if seen.count(_COMPLETE[0]) + seen.count(_COMPLETE[1]) < len(seen):
        slot = next(slot for slot, bits in enumerate(seen) if bits not in _COMPLETE)
        has = "".join(kind for kind, bit in _BIT.items() if seen[slot] & bit)
        chunk, microbatch = divmod(slot, n_microbatches)
        raise InputError(
            f"chunk {chunk}, microbatch {microbatch} has the passes {has or '(none)'}",
            fix="give it F and either B or both I and W",
        )


def _check_order(ranks: Ranks, n_chunks: int, n_microbatches: int) -> None:
    """Execute the schedule without a clock; what is left when nothing moves is the circle."""
    progress = _Progress(n_chunks, n_microbatches)
    position = [0] * len(ranks)
    runnable = deque(range(len(ranks)))
    waiting: dict[int, int] = {}
    while runnable:
        rank = runnable.popleft()
        row = ranks[rank]
        at = position[rank]
        while at < len(row):
            missing = progress.missing_input(row[at])
            if missing >= 0:
                waiting[missing] = rank
                break
            woken = waiting.pop(progress.finish(row[at]), None)
            if woken is not None:
                runnable.append(woken)
            at += 1
        position[rank] = at
    for rank, row in enumerate(ranks):
        if position[rank] < len(row):
            action = row[position[rank]]
            missing_name = progress.name(progress.missing_input(action))
            raise InputError(
                f"rank {rank} cannot go on at position {position[rank]}: {action} waits for "
                f"{missing_name}, which comes later or never",
                fix="put every pass after those it depends on",
            )


class _Progress:
    """What is finished so far: outputs of forwards, then gradients of chunk inputs, as numbers."""

    def __init__(self, n_chunks: int, n_microbatches: int) -> None:
        self.n_microbatches = n_microbatches
        self.n_slots = n_chunks * n_microbatches
        self.done = bytearray(2 * self.n_slots)

    def missing_input(self, action: Action) -> int:
        """Return the number of an unfinished output that `action` needs; -1 when there is none."""
        chunk, kind, microbatch = action
        slot = chunk * self.n_microbatches + microbatch
        if kind == "F":
            needed = slot - self.n_microbatches  # forward of the chunk before
            return needed if needed >= 0 and not self.done[needed] else -1
        if not self.done[slot]:
            return slot
        gradient = self.n_slots + slot
        if kind == "W":
            return -1 if self.done[gradient] else gradient
        needed = gradient + self.n_microbatches  # gradient from the chunk behind
        return needed if needed < len(self.done) and not self.done[needed] else -1

    def finish(self, action: Action) -> int:
        """Mark `action` as finished; return the number of its output, -1 for W (nobody waits)."""
        chunk, kind, microbatch = action
        if kind == "W":
            return -1
        output = chunk * self.n_microbatches + microbatch + (self.n_slots if kind != "F" else 0)
        self.done[output] = 1
        return output

    def name(self, output: int) -> str:
        """Return the action that delivers an output."""
        backward, slot = divmod(output, self.n_slots)
        chunk, microbatch = divmod(slot, self.n_microbatches)
        return f"{chunk}{'B' if backward else 'F'}{microbatch}"
