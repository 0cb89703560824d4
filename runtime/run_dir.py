"""The run directory: where every file of a run lies."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.json_lines import JsonLines, append_line

AGENT_EVENT = "agent"
"""Left by the agent of the ranks when it starts."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths inside one run's directory."""

    root: Path

    @property
    def plan(self) -> Path:
        """The plan as it was asked for."""
        return self.root / "plan.json"

    def changed_plan(self, number: int) -> Path:
        """Return where the plan of an attempt lies that goes on under another one."""
        return self.root / f"plan-{number}.json"

    @property
    def data(self) -> Path:
        return self.root / "data.json"

    @property
    def tokens(self) -> Path:
        """Where tokens lie that were made for this run."""
        return self.root / "tokens"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def splits(self) -> Path:
        """Where the time of some steps went, a line for each rank."""
        return self.root / "splits.jsonl"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def logs(self) -> Path:
        """Logs of the last attempt."""
        return self.root / "logs"

    def keep_logs(self) -> Path:
        """Move the logs of the last attempt out of the way of the next, and return where to."""
        n_kept = sum(1 for _ in self.root.glob("logs-*"))
        return self.logs.rename(self.root / f"logs-{n_kept}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of events.jsonl, as far as the launcher reads it."""

    time_s: float
    """Since 1970."""
    event: str
    rank: int | None
    pid: int
    duration_s: float = 0.0
    """Of a checkpoint."""
    cause: str = ""
    """Class of a fault."""
    ranks: tuple[int, ...] = ()
    """Ranks that a fault strikes."""

    @classmethod
    def parse(cls, record: dict[str, Any]) -> Event:
        """Return the event of a line. Raises KeyError, TypeError or ValueError.

        A rank's pid may be sent a signal, and so may the agent's; 1, 0 and what is negative name
        more than one process.
        """
        rank, pid, event = record.get("rank"), int(record["pid"]), str(record["event"])
        if pid <= 1 and (rank is not None or event == AGENT_EVENT):
            raise ValueError(f"rank {rank} has pid {pid}")
        return cls(
            time_s=float(record["time_s"]),
            event=event,
            rank=None if rank is None else int(rank),
            pid=pid,
            duration_s=float(record.get("duration_s", 0.0)),
            cause=str(record.get("cause", "")),
            ranks=tuple(map(int, record.get("ranks", ()))),
        )


def event_lines(run_dir: RunDir) -> JsonLines[Event]:
    """Return the reader of the events, from the first on."""
    return JsonLines(run_dir.events, Event.parse, kind="events")


def read_events(run_dir: RunDir) -> list[Event]:
    """Return the events so far. Raises InputError for a foreign line."""
    return event_lines(run_dir).new()


def append_event(
    run_dir: RunDir, event: str, *, rank: int | None = None, **details: object
) -> None:
    """Append one line to events.jsonl; several processes may do so at once."""
    record: dict[str, object] = {"time_s": time.time(), "event": event}
    if rank is not None:
        record["rank"] = rank
    append_line(run_dir.events, {**record, "pid": os.getpid(), **details})
