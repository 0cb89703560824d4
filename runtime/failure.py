"""Says what went wrong in a job of several ranks: which rank, how, and what its log said last."""

from __future__ import annotations

import errno
import json
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from runtime.rank_job import RankJob
from runtime.run_dir import RunDir
from simulator.spec.errors import ArmillaryError, InputError, RunError

TAIL_LINES = 15
MOST_NAMED = 8
TAIL_BYTES = 16_384

AGENT = "agent"
"""Name of the process that starts the ranks, and holds the store where they meet."""

Cause = Literal["killed", "hung", "error", "not finite", "full disk", "rendezvous", "never started"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_TIMEOUT = re.compile(r"time(d )?[- ]?out", re.IGNORECASE)


class RankFailure(RunError):
    """A failure with the rank at fault and its cause."""

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        rank: int | None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        """`rank` is None where it is of no one rank."""
        super().__init__(message, where=where, fix=fix)
        self.cause = cause
        self.rank = rank


@dataclass(frozen=True, slots=True, kw_only=True)
class RankError:
    """What a rank said of its own failure, in logs/rank-N.error.json."""

    time_s: float
    kind: str
    """Class of the exception."""
    message: str
    where: str | None = None
    fix: str | None = None
    cause: Cause = "error"
    at_fault: int | None = None
    """Another rank, where this one found what that one did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a rank ended, as the agent saw it, in logs/exits.json."""

    rank: int
    pid: int
    exit_code: int
    """Negative: the signal that killed it."""


def rank_name(rank: int) -> str:
    """Return what the files of a rank begin with."""
    return f"rank-{rank}"


def log_path(run_dir: RunDir, rank: int) -> Path:
    """Return where a rank's output goes."""
    return run_dir.logs / f"{rank_name(rank)}.log"


def _error_path(run_dir: RunDir, rank: int) -> Path:
    return run_dir.logs / f"{rank_name(rank)}.error.json"


def _exits_path(run_dir: RunDir) -> Path:
    return run_dir.logs / "exits.json"


def report_error(run_dir: RunDir, rank: int, error: BaseException) -> None:
    """Leave a rank's last words for the launcher."""
    cause: Cause = "error"
    if isinstance(error, RankFailure):
        cause = error.cause
    elif isinstance(error, OSError) and error.errno in _NO_ROOM:
        cause = "full disk"
    words = RankError(
        time_s=time.time(),
        kind=type(error).__name__,
        message=error.message if isinstance(error, ArmillaryError) else str(error),
        where=error.where if isinstance(error, ArmillaryError) else None,
        fix=error.fix if isinstance(error, ArmillaryError) else None,
        cause=cause,
        at_fault=error.rank if isinstance(error, RankFailure) else None,
    )
    _error_path(run_dir, rank).write_text(json.dumps(asdict(words)))


def report_exits(run_dir: RunDir, exits: list[Exit]) -> None:
    """Leave what the agent saw for the launcher."""
    _exits_path(run_dir).write_text(json.dumps([asdict(exit_) for exit_ in exits]))


def explain_failure(run_dir: RunDir, exit_code: int) -> ArmillaryError:
    """Return the error to raise for a job whose agent left with an exit code other than 0."""
    if not _exits_path(run_dir).exists():
        if exit_code < 0:
            name = signal.Signals(-exit_code).name
            return _agent_failure(run_dir, f"was killed by {name}", "rendezvous")
        return _agent_failure(run_dir, "could not start the ranks", "never started")
    exits = [Exit(**values) for values in json.loads(_exits_path(run_dir).read_text())]
    killed = [exit_ for exit_ in exits if exit_.exit_code < 0 and not _was_told_to_end(exit_)]
    if killed:
        first = killed[0]
        name = signal.Signals(-first.exit_code).name
        return _rank_failure(
            run_dir,
            first.rank,
            f"rank {first.rank} (pid {first.pid}) was killed by {name}",
            "killed",
        )
    return _explain_errors(run_dir, exits)


def _explain_errors(run_dir: RunDir, exits: list[Exit]) -> ArmillaryError:
    errors = {exit_.rank: _read_error(run_dir, exit_.rank) for exit_ in exits}
    spoken = {rank: error for rank, error in errors.items() if error is not None}
    if not spoken:
        first = exits[0]
        return _rank_failure(
            run_dir,
            first.rank,
            f"rank {first.rank} (pid {first.pid}) left with exit code {first.exit_code}",
            "error",
        )
    rank, error = min(spoken.items(), key=lambda item: item[1].time_s)
    if error.kind == InputError.__name__:
        return InputError(error.message, where=error.where, fix=error.fix)
    if error.kind in (RunError.__name__, RankFailure.__name__):
        return RankFailure(
            error.message,
            cause=error.cause,
            rank=error.at_fault,
            where=error.where,
            fix=error.fix,
        )
    silent = _started_ranks(run_dir) - {
        exit_.rank for exit_ in exits if not _was_told_to_end(exit_)
    }
    if silent and _TIMEOUT.search(error.message):
        return _rank_failure(
            run_dir,
            min(silent),
            f"rank {_join(silent)} did not answer, and rank {rank} gave up",
            "hung",
        )
    return _rank_failure(run_dir, rank, f"rank {rank} failed: {error.kind}", error.cause)


def _was_told_to_end(exit_: Exit) -> bool:
    """Return whether the agent ended a rank because another had failed."""
    return exit_.exit_code == -signal.SIGTERM


def _started_ranks(run_dir: RunDir) -> set[int]:
    return {int(path.stem.removeprefix("rank-")) for path in run_dir.logs.glob("rank-*.log")}


def _join(ranks: Iterable[int]) -> str:
    """Name some ranks, and of many the first ones."""
    named = sorted(ranks)
    first = ", ".join(map(str, named[:MOST_NAMED]))
    return first if len(named) <= MOST_NAMED else f"{first} and {len(named) - MOST_NAMED} more"


def _rank_failure(run_dir: RunDir, rank: int, message: str, cause: Cause) -> RankFailure:
    """Return an error that ends with what a rank's log said last."""
    path = log_path(run_dir, rank)
    return RankFailure(message + _tail(path), cause=cause, rank=rank, where=str(path))


def _agent_failure(run_dir: RunDir, message: str, cause: Cause) -> RankFailure:
    path = run_dir.logs / f"{AGENT}.log"
    return RankFailure(
        f"the agent, where the ranks meet, {message}{_tail(path)}",
        cause=cause,
        rank=None,
        where=str(path),
    )


def _read_error(run_dir: RunDir, rank: int) -> RankError | None:
    try:
        return RankError(**json.loads(_error_path(run_dir, rank).read_text()))
    except (OSError, ValueError):
        return None


def never_started(run_dir: RunDir, missing: list[int], job: RankJob) -> RankFailure:
    """Return the error for ranks that did not meet the others in time."""
    return _rank_failure(
        run_dir,
        missing[0],
        f"rank {_join(missing)} did not start within {job.start_timeout_s:g} s",
        "never started",
    )


def fell_silent(run_dir: RunDir, names: list[str], job: RankJob) -> RankFailure:
    """Return the error for processes (ranks or the agent) that gave no sign of life in time."""
    message = f"gave no sign of life for {job.silence_s:g} s"
    if AGENT in names:
        return _agent_failure(run_dir, message, "rendezvous")
    ranks = [int(name.removeprefix("rank-")) for name in names]
    return _rank_failure(run_dir, min(ranks), f"rank {_join(ranks)} {message}", "hung")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    kept = [line for line in lines if line.strip()][-TAIL_LINES:]
    return "".join(f"\n  | {line}" for line in kept)
