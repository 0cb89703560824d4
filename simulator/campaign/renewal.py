"""Renewal theory of checkpointed work under exponential failures: intervals, goodput, completion.

Everything takes scalars or arrays, times in seconds, and a mean time between failures that may be
infinite. The exact formulas let failures strike during restarts and checkpoints too; the
first-order ones are kept for comparison and refuse to answer outside their range.

References
----------
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps",
Future Generation Computer Systems 22 (2006), eq. 20 (completion) and 37 (interval).
J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray

ArrayLike = npt.ArrayLike

RECOVERY_PRESSURE_LIMIT = 0.25
"""Share of time lost to recovery above which first-order formulas are no longer used."""

_NEWTON_STEPS = 6
_SERIES_BELOW = 1e-6  # c/M below which the exact optimum loses digits to cancellation


def young_interval_s(stall_s: ArrayLike, mtbf_s: ArrayLike) -> FloatArray:
    """Work between checkpoints that Young's first-order formula calls best."""
    return np.sqrt(2 * _array(stall_s) * _array(mtbf_s))


def daly_first_order_interval_s(stall_s: ArrayLike, mtbf_s: ArrayLike) -> FloatArray:
    """Young's interval with the checkpoint itself taken off."""
    return young_interval_s(stall_s, mtbf_s) - _array(stall_s)


def daly_interval_s(stall_s: ArrayLike, mtbf_s: ArrayLike) -> FloatArray:
    """Daly's higher-order estimate of the best interval (eq. 37)."""
    c, m = np.broadcast_arrays(_array(stall_s), _array(mtbf_s))
    ratio = c / (2 * m)
    series = 1 + np.sqrt(ratio) / 3 + ratio / 9
    return np.where(c < 2 * m, young_interval_s(c, m) * series - c, m)


def optimal_interval_s(stall_s: ArrayLike, mtbf_s: ArrayLike) -> FloatArray:
    """Exact best interval, M (1 + W0(-exp(-c/M - 1))), with W0 the Lambert function.

    In units of M it is the root of x = 1 - exp(-x - c/M), from where Newton's method falls towards
    it: the right side is concave. It does not depend on the restart time. Infinite where nothing
    fails.
    """
    c, m = np.broadcast_arrays(_array(stall_s), _array(mtbf_s))
    finite_m = np.where(np.isfinite(m), m, 1.0)
    ratio: FloatArray = c / finite_m
    root: FloatArray = np.minimum(1.0, np.sqrt(2 * ratio))
    for _ in range(_NEWTON_STEPS):
        left = np.expm1(-root - ratio)
        root = root + (root + left) / np.minimum(left, -1e-300)
    interval = np.where(ratio < _SERIES_BELOW, daly_interval_s(c, finite_m), finite_m * root)
    return np.where(np.isfinite(m), interval, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeShares:
    """Where the time between two failures goes, as shares that add up to 1."""

    productive: FloatArray
    checkpoint: FloatArray
    """Standstill for checkpoints, also for those of work that is lost later."""
    restart: FloatArray
    lost_work: FloatArray
    """Work after the last checkpoint that was safe when the failure struck."""


def time_shares(
    interval_s: ArrayLike,
    stall_s: ArrayLike,
    restart_s: ArrayLike,
    mtbf_s: ArrayLike,
    *,
    persist_s: ArrayLike = 0.0,
) -> TimeShares:
    """Long-run shares of time of work that stalls for a checkpoint after every interval.

    After a failure a restart of `restart_s` must pass without another failure. A checkpoint is safe
    `persist_s` after its stall (asynchronous saves). The number of safe intervals before a failure
    is geometric: P(K >= k) = exp(-(R + w + k (tau + c)) / M), so that
    goodput = tau exp(-(R + w)/M) / (M (exp((tau + c)/M) - 1)). The time within stalls is
    sum over k of the integral of P(T > t) from R + k tau + (k - 1) c to R + k (tau + c), over M.
    """
    interval, stall, restart, persist = (
        _array(value) for value in (interval_s, stall_s, restart_s, persist_s)
    )
    rate = 1 / _array(mtbf_s)
    cycle = interval + stall
    productive = (
        interval / cycle * np.exp(-(restart + persist) * rate) * _x_over_expm1(cycle * rate)
    )
    in_restart = np.broadcast_to(-np.expm1(-restart * rate), productive.shape)
    # Without failures c / (tau + c) of the time; 0 / 0 there.
    never = cycle * rate == 0
    in_stall = np.where(
        never,
        stall / cycle,
        np.exp(-(restart + interval) * rate)
        * np.expm1(-stall * rate)
        / np.where(never, 1.0, np.expm1(-cycle * rate)),
    )
    lost = 1 - productive - in_stall - in_restart
    return TimeShares(
        productive=productive,
        checkpoint=in_stall,
        restart=in_restart.copy(),
        lost_work=np.where(np.abs(lost) < 1e-14, 0.0, lost),
    )


def goodput(
    interval_s: ArrayLike,
    stall_s: ArrayLike,
    restart_s: ArrayLike,
    mtbf_s: ArrayLike,
    *,
    persist_s: ArrayLike = 0.0,
) -> FloatArray:
    """Long-run share of time that becomes lasting progress; see `time_shares`."""
    return time_shares(interval_s, stall_s, restart_s, mtbf_s, persist_s=persist_s).productive


def goodput_deviation(
    interval_s: ArrayLike,
    stall_s: ArrayLike,
    restart_s: ArrayLike,
    mtbf_s: ArrayLike,
    *,
    horizon_s: ArrayLike,
    persist_s: ArrayLike = 0.0,
) -> FloatArray:
    """Standard deviation of the goodput of one campaign of `horizon_s`.

    Central limit theorem of renewal-reward processes: Var = E[(X - g T)^2] / (M horizon), where T
    is a time between failures, X the work it leaves behind and g the long-run goodput.

    References
    ----------
    S. Asmussen, "Applied Probability and Queues" (2003), theorem VI.3.2.
    """
    interval, stall, mtbf, horizon = np.broadcast_arrays(
        *(_array(value) for value in (interval_s, stall_s, mtbf_s, horizon_s))
    )
    finite = np.where(np.isfinite(mtbf), mtbf, 1.0)
    delay = _array(restart_s) + _array(persist_s)
    cycle = interval + stall
    first = np.exp(-delay / finite)
    odds = 1 / np.expm1(np.minimum(cycle / finite, 700.0))  # q / (1 - q)
    share = interval * first * odds / finite
    count_squared = first * odds * (1 + 2 * odds)
    count_time = first * odds * (cycle * (1 + odds) + delay + finite)
    variance = (
        interval**2 * count_squared - 2 * share * interval * count_time + 2 * (share * finite) ** 2
    )
    deviation = np.sqrt(np.maximum(variance, 0.0) / (finite * horizon))
    return np.where(np.isfinite(mtbf), deviation, 0.0)


def completion_s(
    work_s: ArrayLike,
    interval_s: ArrayLike,
    stall_s: ArrayLike,
    restart_s: ArrayLike,
    mtbf_s: ArrayLike,
) -> FloatArray:
    """Expected time to finish checkpointed work, with failures in restarts too (Daly eq. 20)."""
    return _array(work_s) / goodput(interval_s, stall_s, restart_s, mtbf_s)


def recovery_pressure(interval_s: ArrayLike, restart_s: ArrayLike, mtbf_s: ArrayLike) -> FloatArray:
    """Restart plus half an interval over the mean time between failures, to first order."""
    return (_array(restart_s) + _array(interval_s) / 2) / _array(mtbf_s)


def first_order_ettr(
    interval_s: ArrayLike, write_s: ArrayLike, restart_s: ArrayLike, mtbf_s: ArrayLike
) -> FloatArray:
    """Expected training-time ratio, (1 - (u0 + dt/2)/M) / (1 + w/dt), queueing left out.

    Raises ValueError outside the range of first-order formulas, where it would turn negative.

    References
    ----------
    A. Kokolis et al., "Revisiting Reliability in Large-Scale Machine Learning Research Clusters",
    HPCA 2025, arXiv 2410.21680.
    """
    _require_first_order(interval_s, restart_s, mtbf_s)
    interval = _array(interval_s)
    kept = 1 - recovery_pressure(interval, restart_s, mtbf_s)
    return kept / (1 + _array(write_s) / interval)


def isolated_availability(failures_per_s: ArrayLike, down_s: ArrayLike) -> FloatArray:
    """Share of time that a replica group runs when a failure stops only its own group.

    `failures_per_s` are those of the group, `down_s` is restart plus catching up; the number of
    groups does not matter.
    """
    return 1 / (1 + _array(failures_per_s) * _array(down_s))


def _array(value: ArrayLike) -> FloatArray:
    return np.asarray(value, dtype=np.float64)


def _x_over_expm1(x: FloatArray) -> FloatArray:
    """Return x / (e^x - 1), which is 1 at 0 and vanishes for large x."""
    bounded = np.minimum(x, 700.0)
    return np.where(x == 0, 1.0, bounded / np.where(x == 0, 1.0, np.expm1(bounded)))


def _require_first_order(interval_s: ArrayLike, restart_s: ArrayLike, mtbf_s: ArrayLike) -> None:
    pressure = float(np.max(recovery_pressure(interval_s, restart_s, mtbf_s)))
    if pressure > RECOVERY_PRESSURE_LIMIT:
        raise ValueError(
            f"recovery pressure {pressure:.3g} (restart plus half an interval over the time "
            f"between failures) is above {RECOVERY_PRESSURE_LIMIT}: first-order formulas do not "
            "hold there; use goodput() or completion_s()"
        )
