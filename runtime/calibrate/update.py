"""Lets a calibrated cluster learn from a whole run of it."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from runtime.compare import Comparison
from runtime.run_dir import RunDir
from simulator.catalog.plan_json import read_plan_file
from simulator.spec.cluster import Calibration, ClusterSpec
from simulator.spec.errors import InputError

_DIGITS = 16


def learned(
    cluster: ClusterSpec, run_dir: str | Path, comparison: Comparison, *, where: str
) -> ClusterSpec:
    """Return the cluster with the step scale of one run more: the geometric mean over its runs.

    A run that it has learned from already changes nothing. Raises InputError for a cluster that
    was never measured, and for a run that was planned on another one.
    """
    calibration = cluster.calibration
    if calibration is None:
        raise InputError(
            "this cluster was never measured, so there is nothing to update",
            where=where,
            fix="measure it with armillary calibrate",
        )
    place = RunDir(Path(run_dir))
    planned = read_plan_file(place.plan).scenario.cluster
    if _as_measured(planned) != _as_measured(cluster):
        raise InputError(
            f"{place.root} was planned on another cluster ({planned.name}) than this one "
            f"({cluster.name}), or on another measurement of it",
            where=where,
            fix="plan and run with this file, or update the one that the run was planned with",
        )
    run = _digest(place)
    if run in calibration.learned_from:
        return cluster
    n = calibration.step_scale_runs
    logs = n * math.log(calibration.step_scale) + math.log(comparison.step_scale)
    update = {
        "step_scale": math.exp(logs / (n + 1)),
        "step_scale_runs": n + 1,
        "learned_from": (*calibration.learned_from, run),
    }
    return cluster.model_copy(update={"calibration": calibration.model_copy(update=update)})


def _as_measured(cluster: ClusterSpec) -> ClusterSpec:
    """Return a cluster as if all of it were used and nothing had been learned."""
    calibration = cluster.calibration
    if calibration is not None:
        fields = ("step_scale", "step_scale_runs", "learned_from")
        fresh = {name: Calibration.model_fields[name].default for name in fields}
        calibration = calibration.model_copy(update=fresh)
    size = {"n_nodes": 1, "devices_per_node": 1, "scale_up_domain_devices": 1}
    return cluster.model_copy(update={**size, "calibration": calibration})


def _digest(place: RunDir) -> str:
    """Return what tells a run from all others, wherever it lies: its first step and its time."""
    with place.metrics.open("rb") as lines:
        return hashlib.sha256(lines.readline()).hexdigest()[:_DIGITS]
