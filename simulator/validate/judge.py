"""Predict every row of a table and judge the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.catalog import find_software
from simulator.cost.uncertainty import step_factor
from simulator.spec.fit import misfit_probability
from simulator.spec.prediction import Interval
from simulator.validate.anchoring import anchor
from simulator.validate.express import Case, Skipped, express
from simulator.validate.left_out import left_out_peak_memory, left_out_step_seconds
from simulator.validate.outcome import Outcome
from simulator.validate.predicted import (
    PeakMemory,
    peak_memory,
    share_equal_parts,
    step_seconds,
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
    rankings,
    step_errors,
)
from simulator.validate.software import software_rule

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = tuple(
    Path(__file__).with_name(name) for name in ("published_runs.csv", "published_oom.csv")
)
"""The tables that ship with Armillary; every row names its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Every row's outcome and the scores over them."""

    outcomes: tuple[Outcome, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per measured run: predicted, measured, and what was assumed."""
        import pandas as pd

        rows = [
            {
                "id": each.row.id,
                "predicted_step_s": each.predicted_step_s,
                "measured_step_s": each.row.step_s,
                "predicted_memory_bytes": each.predicted_memory_bytes,
                "measured_memory_bytes": each.measured_memory_bytes,
                "fits": each.fits,
                "assumed": ", ".join(each.assumed),
                "skipped": each.skipped,
            }
            for each in self.outcomes
        ]
        return pd.DataFrame(rows).set_index("id")

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
    def rankings(self) -> dict[str, Ranking]:
        """The same, question by question."""
        return rankings(self.outcomes)

    @property
    def fit(self) -> Fit | None:
        """Fits or runs out of memory."""
        return fit(self.outcomes)

    def furthest(self, n: int) -> list[Outcome]:
        """The outcomes whose step time is furthest from the measured one, the furthest first."""
        timed = [each for each in self.outcomes if each.step_ratio is not None]
        return sorted(timed, key=lambda each: -abs((each.step_ratio or 1.0) - 1.0))[:n]

    def step_by(self, name: str) -> dict[str, Errors]:
        """Errors of step time by a property of `PROPERTIES`."""
        groups = by_property(self.outcomes, PROPERTIES[name], first=SIZE_NAMES)
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


def validate(
    tables: Sequence[Path] = PUBLISHED, *, n_anchors: int = 0, left_out: bool = False
) -> Validation:
    """Predict and judge the rows of some CSV tables; see `judge`. Raises InputError."""
    rows = [row for table in tables for row in read_rows(table)]
    return judge(rows, n_anchors=n_anchors, left_out=left_out)


def judge(rows: Sequence[RunRow], *, n_anchors: int = 0, left_out: bool = False) -> Validation:
    """Predict and judge some rows.

    With `left_out`, published sources are predicted by constants fitted without them; with
    `n_anchors`, every source is calibrated from so many of its rows, which are not scored.
    """
    expressed = [express(row) for row in rows]
    cases = [each for each in expressed if isinstance(each, Case)]
    predictions = iter(_predictions(cases, n_anchors=n_anchors, left_out=left_out))
    return Validation(
        outcomes=tuple(
            Outcome(row=each.row, skipped=each.reason)
            if isinstance(each, Skipped)
            else next(predictions)
            for each in expressed
        )
    )


def _predictions(cases: Sequence[Case], *, n_anchors: int, left_out: bool) -> list[Outcome]:
    filled = with_recompute(share_equal_parts(cases))
    step_s = left_out_step_seconds(filled) if left_out else step_seconds(filled)
    anchored = anchor(filled, step_s, n_anchors)
    memory = left_out_peak_memory(filled) if left_out else peak_memory(filled)
    return [
        _outcome(case, float(time_s), held, anchor=index in anchored.anchors)
        for index, (case, time_s, held) in enumerate(
            zip(anchored.cases, anchored.step_s, memory, strict=True)
        )
    ]


def _outcome(case: Case, step_s: float, memory: PeakMemory, *, anchor: bool) -> Outcome:
    held_bytes = memory.measured_as(software_rule(case.row).measures)
    capacity_bytes = case.cluster.device.memory_bytes
    software = find_software(case.job.software)
    factor = step_factor(case.cluster, case.model, software, case.plan.n_ranks)
    return Outcome(
        row=case.row,
        predicted_step_s=step_s,
        interval_step_s=_around(step_s, factor),
        predicted_memory_bytes=held_bytes,
        interval_memory_bytes=_around(held_bytes, memory.interval_factor),
        fits=memory.used_bytes <= capacity_bytes,
        misfit_probability=misfit_probability(
            memory.used_bytes, capacity_bytes, memory.interval_factor
        ),
        software=case.job.software,
        assumed=case.assumed,
        anchor=anchor,
    )


def _around(value: float, factor: float) -> Interval:
    return Interval(low=value / factor, high=value * factor)


SIZES = ((8, "1-8 devices"), (64, "9-64 devices"), (512, "65-512 devices"))
LARGEST = "more than 512 devices"
SIZE_NAMES = (*(name for _, name in SIZES), LARGEST)


def _size(outcome: Outcome) -> str:
    devices = outcome.row.n_devices or 0
    return next((name for edge, name in SIZES if devices <= edge), LARGEST)


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
