"""How far a prediction may be off: 90 % intervals, from what was left out of the fits.

Constants were fitted without one source of published runs at a time, and the errors on that source
say how wide an interval must be for a cluster that nobody has measured. They are mostly one bias
per source; see docs/accuracy.md.
"""

from __future__ import annotations

import math

from simulator.spec.cluster import ClusterSpec
from simulator.spec.model import ModelSpec

MEASURED_FACTOR = 1.10
"""Where whole steps of the cluster itself were measured."""
MIXTURE_FACTOR = 1.17
"""On the logarithm's scale, what mixtures of experts add: 1.21 becomes 1.42, 1.30 becomes 1.52."""
LARGEST_RUN_DEVICES = 8192
"""Most devices of any run in the fit."""
GROWTH_PER_DOUBLING = 0.02
"""Widening of the factor for every doubling beyond."""
MEMORY_FACTOR = 1.12
"""Half-width of the 90 % interval of peak memory, as a factor; frameworks differ in what they keep
beside the tensors."""


def step_factor(cluster: ClusterSpec, model: ModelSpec, n_ranks: int) -> float:
    """Half-width of the 90 % interval of a predicted step time, as a factor of at least 1."""
    calibration = cluster.calibration
    if calibration is not None and calibration.step_scale_runs:
        return MEASURED_FACTOR
    factor = cluster.device.efficiency.interval_factor
    if model.moe is not None:
        factor *= MIXTURE_FACTOR
    beyond = max(0.0, math.log2(max(n_ranks, 1) / LARGEST_RUN_DEVICES))
    return factor * (1.0 + GROWTH_PER_DOUBLING * beyond)
