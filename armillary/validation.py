"""A validation as the JSON that `armillary validate --json` prints."""

from __future__ import annotations

from typing import Literal

from simulator.spec.base import Spec
from simulator.spec.prediction import Interval
from simulator.validate import Outcome, Validation
from simulator.validate.scores import Errors, Fit, Ranking


class ValidatedRow(Spec):
    """One measured run and its prediction; None where a row says or is told nothing."""

    id: str
    predicted_step_s: float | None
    interval_step_s: tuple[float, float] | None
    """90 %: low, high."""
    measured_step_s: float | None
    predicted_memory_bytes: float | None
    interval_memory_bytes: tuple[float, float] | None
    """90 %: low, high."""
    measured_memory_bytes: float | None
    fits: bool | None
    misfit_probability: float | None
    """Probability that the fullest rank needs more memory than there is."""
    software: str | None
    assumed: tuple[str, ...]
    """What blank cells were taken to be."""
    anchor: bool
    """Whether the row calibrated its source, and is not scored."""
    skipped: str | None
    """Why there is no prediction."""


class FitScore(Spec):
    """Answers to "does it fit?" against runs that did or ran out of memory."""

    right: int
    false_oom: int
    """Said not to fit, and ran."""
    missed_oom: int
    """Said to fit, and ran out of memory."""
    at_edge: int
    """Of all, those for which the 90 % interval allows both."""
    wrong_off_edge: int
    """Wrong answers that the interval did not allow."""
    accuracy: float

    @classmethod
    def of(cls, fit: Fit) -> FitScore:
        """Return the score with its accuracy written down."""
        return cls(
            right=fit.right,
            false_oom=fit.false_oom,
            missed_oom=fit.missed_oom,
            at_edge=fit.at_edge,
            wrong_off_edge=fit.wrong_off_edge,
            accuracy=fit.accuracy,
        )


class ValidationSummary(Spec):
    """Scores over the rows; None where no row has what they need."""

    rows: int
    skipped: int
    step: Errors | None
    step_mean_of_sources: float | None
    step_by_source: dict[str, Errors]
    memory: Errors | None
    memory_by_source: dict[str, Errors]
    ranking: Ranking | None
    fit: FitScore | None


class ValidationAnswer(Spec):
    """What `armillary validate --json` prints."""

    version: Literal[1] = 1
    rows: tuple[ValidatedRow, ...]
    summary: ValidationSummary

    @classmethod
    def of(cls, found: Validation) -> ValidationAnswer:
        """Return the rows and the summary."""
        return cls(
            rows=tuple(map(_row, found.outcomes)),
            summary=ValidationSummary(
                rows=len(found.outcomes),
                skipped=sum(outcome.skipped is not None for outcome in found.outcomes),
                step=found.step,
                step_mean_of_sources=found.mean_of_sources,
                step_by_source=found.step_by("source"),
                memory=found.memory,
                memory_by_source=found.memory_by_source(),
                ranking=found.ranking,
                fit=None if found.fit is None else FitScore.of(found.fit),
            ),
        )


def _row(outcome: Outcome) -> ValidatedRow:
    return ValidatedRow(
        id=outcome.row.id,
        predicted_step_s=outcome.predicted_step_s,
        interval_step_s=_pair(outcome.interval_step_s),
        measured_step_s=outcome.row.step_s,
        predicted_memory_bytes=outcome.predicted_memory_bytes,
        interval_memory_bytes=_pair(outcome.interval_memory_bytes),
        measured_memory_bytes=outcome.measured_memory_bytes,
        fits=outcome.fits,
        misfit_probability=outcome.misfit_probability,
        software=outcome.software,
        assumed=outcome.assumed,
        anchor=outcome.anchor,
        skipped=outcome.skipped,
    )


def _pair(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else interval.ends
