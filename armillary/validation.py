"""A validation as the JSON that `armillary validate --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simulator.spec.prediction import Interval
from simulator.validate import Outcome, Validation

VERSION = 1


def as_data(found: Validation) -> dict[str, Any]:
    """Return the rows and the summary."""
    return {
        "version": VERSION,
        "rows": [_row(outcome) for outcome in found.outcomes],
        "summary": _summary(found),
    }


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.row.id,
        "predicted_step_s": outcome.predicted_step_s,
        "interval_step_s": _interval(outcome.interval_step_s),
        "measured_step_s": outcome.row.step_s,
        "predicted_memory_bytes": outcome.predicted_memory_bytes,
        "interval_memory_bytes": _interval(outcome.interval_memory_bytes),
        "measured_memory_bytes": outcome.measured_memory_bytes,
        "fits": outcome.fits,
        "software": outcome.software,
        "assumed": list(outcome.assumed),
        "anchor": outcome.anchor,
        "skipped": outcome.skipped,
    }


def _interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _summary(found: Validation) -> dict[str, Any]:
    skipped = sum(outcome.skipped is not None for outcome in found.outcomes)
    step, memory, ranking, fit = found.step, found.memory, found.ranking, found.fit
    return {
        "rows": len(found.outcomes),
        "skipped": skipped,
        "step": asdict(step) if step else None,
        "step_mean_of_sources": found.mean_of_sources,
        "step_by_source": {name: asdict(each) for name, each in found.step_by("source").items()},
        "memory": asdict(memory) if memory else None,
        "memory_by_source": {name: asdict(each) for name, each in found.memory_by_source().items()},
        "ranking": asdict(ranking) if ranking else None,
        "fit": asdict(fit) | {"accuracy": fit.accuracy} if fit else None,
    }
