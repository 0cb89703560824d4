"""How much slow devices and links lengthen the mean step, in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray
from simulator.spec.reliability import FailureCause
from simulator.spec.units import DAY_S


def mean_speed(
    causes: Iterable[FailureCause], ranks: FloatArray, communication_share: npt.ArrayLike
) -> FloatArray:
    """Mean speed of n jobs over that of healthy ones, for the slow events among their causes.

    While one event of a cause lasts (M/G/infinity), everybody waits for it, and more of them change
    nothing. Slow devices lengthen what is computed, slow links what is communicated; events of
    different causes are taken to meet by chance.
    """
    share = np.asarray(communication_share, float)
    speed = np.ones_like(ranks)
    for cause in causes:
        per_day = ranks * cause.failures_per_device_day + cause.failures_per_job_day
        noticed_s = cause.detection_s or math.inf
        lasts_s = -cause.lasts_s * math.expm1(-noticed_s / cause.lasts_s)
        slowed = -np.expm1(-per_day / DAY_S * lasts_s)
        longer = (cause.slowdown - 1) * (share if cause.slows == "network" else 1 - share)
        speed = speed * (1 - slowed * longer / (1 + longer))
    return speed
