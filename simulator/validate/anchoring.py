"""Calibrate every source from a few of its rows, as a user would from some measured steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.cost.plan_table import FloatArray
from simulator.cost.uncertainty import anchored_scale
from simulator.spec.cluster import Calibration
from simulator.validate.express import Case


@dataclass(frozen=True, slots=True)
class Anchored:
    """Cases on clusters of which some steps were measured, and their step times."""

    cases: list[Case]
    step_s: FloatArray
    anchors: frozenset[int]
    """Which cases the calibration comes from; they say nothing about its error."""


def anchor(cases: Sequence[Case], step_s: FloatArray, n_anchors: int) -> Anchored:
    """Scale the predictions for every source and device by what `n_anchors` of its rows say.

    The rows are those in the middle of as many equal parts of the timed rows, ordered by their
    predicted time: a rule that looks at no result.
    """
    result, scaled_s, chosen = list(cases), np.array(step_s), set()
    clusters: dict[tuple[str, str], list[int]] = {}
    for index, case in enumerate(cases):
        source = case.row.source_group or case.row.source
        clusters.setdefault((source, case.cluster.device.name), []).append(index)
    for rows in clusters.values():
        timed = sorted((r for r in rows if cases[r].row.step_s), key=lambda r: (step_s[r], r))
        picked = _spread(timed, n_anchors)
        if not picked:
            continue
        chosen.update(picked)
        scale = anchored_scale([(cases[row].row.step_s or 0.0) / step_s[row] for row in picked])
        for row in rows:
            scaled_s[row] *= scale
            result[row] = _calibrated(cases[row], scale, len(picked))
    return Anchored(result, scaled_s, frozenset(chosen))


def _spread(rows: Sequence[int], n_anchors: int) -> list[int]:
    n = min(n_anchors, len(rows) - 1)
    return [rows[int((part + 0.5) * len(rows) / n)] for part in range(n)]


def _calibrated(case: Case, scale: float, n_runs: int) -> Case:
    calibration = Calibration(date="", step_scale=scale, step_scale_runs=n_runs)
    return replace(case, cluster=case.cluster.model_copy(update={"calibration": calibration}))
