"""A pipeline schedule as data: what every rank does, in order.

The simulator puts it on a time line and the runtime executes it, from the same table.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from simulator.schedule.action import BACKWARD_INPUT, FORWARD, Action, parse_action
from simulator.schedule.executable import check_executable
from simulator.spec.errors import InputError
from simulator.spec.files import read_text

MAX_CSV_CHARACTERS = 200_000_000
"""A larger table is refused; pp 64, 8 chunks a rank and 4,096 microbatches need 30 million."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What each pipeline rank does in one step, in order.

    Chunks are counted along the model and microbatches in the order in which they are fed in.
    Which rank holds a chunk is said by the actions: looped schedules hold r + k x pp on rank r.

    Raises
    ------
    InputError
        If some chunk misses a pass over some microbatch, is on two ranks, or the order cannot be
        executed.
    """

    name: str
    n_chunks: int
    n_microbatches: int
    ranks: tuple[tuple[Action, ...], ...]

    def __post_init__(self) -> None:
        check_executable(self.ranks, n_chunks=self.n_chunks, n_microbatches=self.n_microbatches)

    @property
    def pp(self) -> int:
        """Pipeline ranks."""
        return len(self.ranks)

    @property
    def n_passes(self) -> int:
        """Forward passes of one rank."""
        return self.n_chunks // self.pp * self.n_microbatches

    def rank_of_chunk(self) -> tuple[int, ...]:
        """Return the rank that holds each chunk."""
        places = {action.chunk: rank for rank, row in enumerate(self.ranks) for action in row}
        return tuple(places[chunk] for chunk in range(self.n_chunks))

    def peak_in_flight(self) -> tuple[int, ...]:
        """Return, per rank, how many activations (one chunk, one microbatch) it holds at most."""
        return tuple(_peak_in_flight(row) for row in self.ranks)

    def to_csv(self) -> str:
        """Return one line per rank, as torch's `_load_csv(format="compute_only")` reads it.

        References
        ----------
        pytorch/pytorch:torch/distributed/pipelining/schedules.py `_PipelineScheduleRuntime`.
        """
        return "".join(",".join(map(str, row)) + "\n" for row in self.ranks)

    @classmethod
    def from_csv(cls, text: str, *, name: str = "custom", where: str = "schedule") -> Schedule:
        """Return the schedule of such a table; blank cells (torch's idle slots) are skipped.

        Raises InputError with line and column.
        """
        if len(text) > MAX_CSV_CHARACTERS:
            raise InputError(
                f"{len(text)} characters, and {MAX_CSV_CHARACTERS} is the limit", where=where
            )
        ranks = tuple(
            tuple(_parse_row(row, where=f"{where}:{line}"))
            for line, row in enumerate(csv.reader(io.StringIO(text)), start=1)
            if row
        )
        actions = [action for row in ranks for action in row]
        if not actions:
            raise InputError("no actions", where=where, fix="write one line of cells per rank: 0F0")
        try:
            return cls(
                name=name,
                n_chunks=1 + max(action.chunk for action in actions),
                n_microbatches=1 + max(action.microbatch for action in actions),
                ranks=ranks,
            )
        except InputError as error:
            raise InputError(error.message, where=where, fix=error.fix) from None


def read_schedule(path: Path) -> Schedule:
    """Return the schedule of a CSV file. Raises InputError with the place of what is wrong."""
    return Schedule.from_csv(
        read_text(path, limit_bytes=MAX_CSV_CHARACTERS), name=path.name, where=str(path)
    )


def _parse_row(row: list[str], *, where: str) -> list[Action]:
    actions = []
    for column, cell in enumerate(row, start=1):
        if not cell.strip():
            continue
        action = parse_action(cell)
        if action is None:
            raise InputError(
                f"{cell[:40]!r} is not an action",
                where=f"{where}:{column}",
                fix="write chunk, one of F B I W, and microbatch: 0F3",
            )
        actions.append(action)
    return actions


def _peak_in_flight(row: tuple[Action, ...]) -> int:
    held = peak = 0
    for action in row:
        if action.kind == FORWARD:
            held += 1
            peak = max(peak, held)
        elif action.kind != BACKWARD_INPUT:  # the weight gradient still needs them
            held -= 1
    return peak
