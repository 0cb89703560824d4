"""Predict every row of a table and judge the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.cost.uncertainty import MEMORY_FACTOR, step_factor
from simulator.spec.prediction import Interval
from simulator.validate.express import Case, Skipped, express
from simulator.validate.outcome import Outcome
from simulator.validate.predicted import (
    Predicted,
    predict_cases,
    share_equal_parts,
    with_recompute,
)
from simulator.validate.rows import RunRow, read_rows
from simulator.validate.scores import (
    Errors,
    Fit,
    Ranking,
    by_property,
    fit,
    memory_errors,
    ranking,
    step_errors,
)

PUBLISHED = tuple(
    Path(__file__).with_name(name) for name in ("published_runs.csv", "published_oom.csv")
)
"""The tables that ship with Armillary; every row names its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Every row's outcome and the scores over them."""

    outcomes: tuple[Outcome, ...]

    @property
    def step(self) -> Errors | None:
        """Errors of step time over all rows."""
        return step_errors(self.outcomes)

    @property
    def memory(self) -> Errors | None:
        """Errors of peak memory over all rows."""
        return memory_errors(self.outcomes)

    @property
    def ranking(self) -> Ranking | None:
        """Order of plans inside the questions of the table."""
        return ranking(self.outcomes)

    @property
    def fit(self) -> Fit | None:
        """Fits or runs out of memory."""
        return fit(self.outcomes)

    def step_by(self, name: str) -> dict[str, Errors]:
        """Errors of step time by a property of `PROPERTIES`."""
        groups = by_property(self.outcomes, PROPERTIES[name])
        scored = {group: step_errors(outcomes) for group, outcomes in groups.items()}
        return {group: errors for group, errors in scored.items() if errors is not None}

    def memory_by_source(self) -> dict[str, Errors]:
        """Errors of peak memory by source."""
        groups = by_property(self.outcomes, PROPERTIES["source"])
        scored = {group: memory_errors(outcomes) for group, outcomes in groups.items()}
        return {group: errors for group, errors in scored.items() if errors is not None}

    @property
    def mean_of_sources(self) -> float | None:
        """Mean over the sources of their mean error: no source weighs more for having more rows."""
        means = [errors.mean for errors in self.step_by("source").values()]
        return sum(means) / len(means) if means else None


def validate(tables: Sequence[Path] = PUBLISHED) -> Validation:
    """Predict and judge the rows of some CSV tables. Raises InputError."""
    return judge([row for table in tables for row in read_rows(table)])


def judge(rows: Sequence[RunRow]) -> Validation:
    """Predict and judge some rows."""
    expressed = [express(row) for row in rows]
    cases = [each for each in expressed if isinstance(each, Case)]
    predictions = iter(predict_cases(with_recompute(share_equal_parts(cases))))
    return Validation(
        outcomes=tuple(
            Outcome(row=each.row, skipped=each.reason)
            if isinstance(each, Skipped)
            else _outcome(next(predictions))
            for each in expressed
        )
    )


def _outcome(predicted: Predicted) -> Outcome:
    case = predicted.case
    return Outcome(
        row=case.row,
        predicted_step_s=predicted.step_s,
        interval_step_s=_around(
            predicted.step_s, step_factor(case.cluster, case.model, case.plan.n_ranks)
        ),
        predicted_memory_bytes=predicted.memory_bytes,
        interval_memory_bytes=_around(predicted.memory_bytes, MEMORY_FACTOR),
        fits=predicted.fits,
        software=case.job.software,
        assumed=case.assumed,
    )


def _around(value: float, factor: float) -> Interval:
    return Interval(low=value / factor, high=value * factor)


def _size(outcome: Outcome) -> str:
    devices = outcome.row.n_devices or 0
    edges = ((8, "1-8 devices"), (64, "9-64 devices"), (512, "65-512 devices"))
    return next((name for edge, name in edges if devices <= edge), "more than 512 devices")


def _kind(outcome: Outcome) -> str:
    row = outcome.row
    family = "mixture" if row.n_experts else "dense"
    return f"{row.device}, {row.precision or 'bf16'}, {family}"


def _feature(name: str) -> Callable[[Outcome], str | None]:
    def key(outcome: Outcome) -> str | None:
        value = getattr(outcome.row, name) or 1
        return f"{name} > 1" if value > 1 else None

    return key


def _recompute(outcome: Outcome) -> str:
    return f"recompute {outcome.row.recompute or 'not stated'}"


PROPERTIES: dict[str, Callable[[Outcome], str | None]] = {
    "source": lambda outcome: outcome.row.source_group or outcome.row.source or "unnamed",
    "kind": _kind,
    "software": lambda outcome: outcome.software,
    "size": _size,
    "recompute": _recompute,
} | {name: _feature(name) for name in ("tp", "pp", "vpp", "cp", "ep")}
"""What errors can be broken down by."""
