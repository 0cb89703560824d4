"""Lets a calibrated cluster learn from a whole run of it."""

from __future__ import annotations

import math

from runtime.compare import Comparison
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError


def learned(cluster: ClusterSpec, comparison: Comparison, *, where: str) -> ClusterSpec:
    """Return the cluster with the step scale of one run more: the geometric mean over its runs.

    Raises InputError for a cluster that was never measured.
    """
    calibration = cluster.calibration
    if calibration is None:
        raise InputError(
            "this cluster was never measured, so there is nothing to update",
            where=where,
            fix="measure it with armillary calibrate",
        )
    n = calibration.step_scale_runs
    logs = n * math.log(calibration.step_scale) + math.log(comparison.step_scale)
    update = {"step_scale": math.exp(logs / (n + 1)), "step_scale_runs": n + 1}
    return cluster.model_copy(update={"calibration": calibration.model_copy(update=update)})
