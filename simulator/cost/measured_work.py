"""What the software adds to kernels and messages, as fitted on this very machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.cost.groups import Group
from simulator.cost.host import slowdown
from simulator.cost.plan_table import FloatArray
from simulator.spec.cluster import Calibration, ExchangeFit, ExchangeName


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredWork:
    """The fields of `WorkFit` for every plan; arrays of shape (n,)."""

    layer_s: FloatArray
    layer_value_s: FloatArray
    weight_s: FloatArray
    head_s: FloatArray
    logit_s: FloatArray
    update_s: FloatArray
    parameter_s: FloatArray


def measured_work(calibration: Calibration | None, busy: FloatArray) -> MeasuredWork | None:
    """Return the fits with the nearest number of busy ranks, slowed to the wanted number."""
    if calibration is None or not calibration.work:
        return None
    fits = calibration.work
    counts = np.array([fit.n_busy_ranks for fit in fits])
    nearest = np.abs(np.log(counts[None, :] / busy[:, None])).argmin(axis=1)
    steps = calibration.shared_slowdown
    slower = slowdown(steps, busy) / slowdown(steps, counts[nearest].astype(np.float64))

    def column(name: str) -> FloatArray:
        values = np.array([getattr(fit, name) for fit in fits])
        result: FloatArray = values[nearest] * slower
        return result

    return MeasuredWork(**{name: column(name) for name in MeasuredWork.__dataclass_fields__})


def added_s(name: ExchangeName, message_bytes: FloatArray, group: Group) -> FloatArray:
    """Time that an exchange adds to its bare collective; 0 where it was not measured.

    Of the fits the one with the nearest numbers of ranks in the group and at work counts.
    """
    fits = [fit for fit in group.exchanges if fit.exchange == name]
    result = np.zeros(len(group.size))
    if not fits:
        return result
    for size, busy in set(zip(group.size.tolist(), group.n_busy.tolist(), strict=True)):
        if size > 1:
            rows = (group.size == size) & (group.n_busy == busy)
            fit = _nearest(fits, size, busy)
            result[rows] = (
                fit.fixed_s + np.broadcast_to(message_bytes, rows.shape)[rows] * fit.byte_s
            )
    return result


def _nearest(fits: list[ExchangeFit], size: int, busy: int) -> ExchangeFit:
    def distance(fit: ExchangeFit) -> float:
        return abs(math.log(fit.n_ranks / size)) + abs(math.log(fit.n_busy_ranks / busy))

    return min(fits, key=distance)
