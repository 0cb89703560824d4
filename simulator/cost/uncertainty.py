"""How far a prediction may be off: 90 % intervals, from what was left out of the fits.

Constants were fitted without one source of published runs at a time, and the errors on that source
say how wide an interval must be for a cluster that nobody has measured. They are mostly one bias
per source; see docs/accuracy.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.spec.base import Basis
from simulator.spec.cluster import ClusterSpec, FabricSpec
from simulator.spec.model import ModelSpec
from simulator.spec.profiles import SoftwareProfile

MEASURED_SHARE = 0.75
"""Of the half-width that is left, on the logarithm's scale, where steps of the cluster itself were
measured, of other plans."""
MIXTURE_FACTOR = 1.17
"""On the logarithm's scale, what mixtures of experts add: 1.21 becomes 1.42, 1.30 becomes 1.52."""
FABRIC_FACTOR = 1.04
"""What a fabric adds whose efficiency no published run determined."""
LARGEST_RUN_DEVICES = 8192
"""Most devices of any run in the fit."""
GROWTH_PER_DOUBLING = 0.02
"""Widening of the factor for every doubling beyond."""


def step_factor(
    cluster: ClusterSpec, model: ModelSpec, software: SoftwareProfile, n_ranks: int
) -> float:
    """Half-width of the 90 % interval of a predicted step time, as a factor of at least 1."""
    factor = cluster.device.efficiency.interval_factor * software.interval_factor
    if model.moe is not None:
        factor *= MIXTURE_FACTOR
    if cluster.n_nodes > 1 and not _is_calibrated(cluster.fabric):
        factor *= FABRIC_FACTOR
    calibration = cluster.calibration
    if calibration is not None and calibration.step_scale_runs:
        factor **= MEASURED_SHARE
    beyond = max(0.0, math.log2(max(n_ranks, 1) / LARGEST_RUN_DEVICES))
    return factor * (1.0 + GROWTH_PER_DOUBLING * beyond)


def _is_calibrated(fabric: FabricSpec) -> bool:
    known = (Basis.CALIBRATED, Basis.MEASURED)
    return any(
        each.basis in known for each in fabric.sources if each.field in ("nic", "nic.efficiency")
    )


BIAS_SPREAD = 0.10
"""Spread of the logarithm of a cluster's bias, where no run of it was fitted to."""
STEP_SPREAD = 0.10
"""Spread of a single step around its cluster's bias, of different models and plans."""
FAR = 2.0 * BIAS_SPREAD
"""What is further off says something about that step rather than about the cluster."""


def anchored_scale(measured_over_predicted: Sequence[float]) -> float:
    """What all steps of a cluster are to be multiplied by, after some of them were measured.

    The mean logarithm, shrunk towards none by what one expects of a bias and of a single step.
    """
    n = len(measured_over_predicted)
    logs = [min(max(math.log(ratio), -FAR), FAR) for ratio in measured_over_predicted]
    weight = n * BIAS_SPREAD**2 / (n * BIAS_SPREAD**2 + STEP_SPREAD**2)
    return math.exp(weight * sum(logs) / n)
