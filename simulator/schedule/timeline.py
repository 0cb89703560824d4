"""A schedule against an ideal clock: every pass takes its unit time, nothing else takes any."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.schedule.action import Action, Kind
from simulator.schedule.schedule import Schedule

UNIT_TIMES: Mapping[Kind, float] = {"F": 1.0, "B": 2.0, "I": 1.0, "W": 1.0}
"""A backward pass does twice the arithmetic of a forward one, half of it for the weights."""


def bubble_fraction(schedule: Schedule, durations: Mapping[Kind, float] = UNIT_TIMES) -> float:
    """Return the idle time of a step over its busy time: (pp - 1) / n_microbatches for 1F1B.

    References
    ----------
    Narayanan et al. 2021, section 2.2 ("t_pb / t_id").
    """
    busy = max(sum(durations[action.kind] for action in row) for row in schedule.ranks)
    return max(finish_times(schedule, durations)) / busy - 1.0


def finish_times(
    schedule: Schedule, durations: Mapping[Kind, float] = UNIT_TIMES
) -> tuple[float, ...]:
    """Return when each rank is done, if communication took no time."""
    provided_at: dict[tuple[int, str, int], float] = {}
    clock = [0.0] * schedule.pp
    rows = [iter(row) for row in schedule.ranks]
    pending = [next(row, None) for row in rows]
    while any(pending):
        for rank, row in enumerate(rows):
            while (action := pending[rank]) is not None:
                ready = _ready_at(action, schedule.n_chunks, provided_at)
                if ready is None:
                    break
                clock[rank] = max(clock[rank], ready) + durations[action.kind]
                if action.kind != "W":
                    direction = "F" if action.kind == "F" else "B"
                    provided_at[action.chunk, direction, action.microbatch] = clock[rank]
                pending[rank] = next(row, None)
    return tuple(clock)


def _ready_at(
    action: Action, n_chunks: int, provided_at: Mapping[tuple[int, str, int], float]
) -> float | None:
    """Return when the other chunk's output is there; None when it is not known yet."""
    chunk, kind, microbatch = action
    if kind == "F" and chunk > 0:
        return provided_at.get((chunk - 1, "F", microbatch))
    if kind in ("B", "I") and chunk < n_chunks - 1:
        return provided_at.get((chunk + 1, "B", microbatch))
    return 0.0
