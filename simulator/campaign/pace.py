"""Where the time of n campaigns goes while they have their nodes, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.feeding import input_waits
from simulator.campaign.renewal import TimeShares, goodput_deviation, time_shares
from simulator.campaign.rhythm import Rhythm
from simulator.campaign.slow import mean_speed
from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Shares of the time in which the job has its nodes."""

    shares: TimeShares
    deviation: FloatArray
    """Of the productive share, times the square root of the horizon in seconds."""
    interrupted: FloatArray
    """Share of the time spent in restarts that a save preceded: after a warning, or to grow."""
    planned: FloatArray
    """Part of those that is planned maintenance."""
    degraded: FloatArray
    """Time of a step by which it is longer than on healthy devices, over that."""
    starved: FloatArray
    """Wait for data over the time of a step on healthy devices."""
    startup_s: FloatArray
    restart_s: FloatArray


def pace_of(
    terms: CampaignTerms,
    rhythm: Rhythm,
    ranks: FloatArray,
    step_s: FloatArray,
    *,
    regrowths_per_s: FloatArray,
    communication_share: npt.ArrayLike,
) -> Pace:
    """Return where the time goes while the job has its nodes.

    Tiers answer failures of their own: what each of them leaves productive is multiplied, and the
    losses are scaled to add up. With one tier this is exact.
    """
    stall_s, open_s = input_waits(terms, step_s, ranks)
    more_s = terms.restart_s_per_device * ranks + open_s
    restart_s = terms.restart_s + more_s
    parts = []
    variance = np.zeros_like(restart_s)
    for tier, saved in zip(terms.tiers, rhythm.tiers, strict=True):
        moments = (saved.interval_s, saved.stall_s, restart_s + saved.load_s, saved.mtbf_s)
        late_s = saved.persist_s + tier.undone_s
        parts.append(time_shares(*moments, persist_s=late_s))
        variance += goodput_deviation(*moments, persist_s=late_s, horizon_s=1.0) ** 2
    productive = np.prod([part.productive for part in parts], axis=0)
    lost = np.asarray(sum(1 - part.productive for part in parts))
    scale = np.where(lost > 0, (1 - productive) / np.where(lost > 0, lost, 1.0), 0.0)
    warned_rate = terms.warned.of_job(ranks)
    known_s = terms.startup_s + more_s  # nothing to detect
    warned = warned_rate * known_s
    grown = regrowths_per_s * (known_s + rhythm.stall_s)
    interrupted = warned + grown
    return Pace(
        shares=TimeShares(
            productive=productive,
            checkpoint=scale * sum(part.checkpoint for part in parts),
            restart=scale * sum(part.restart for part in parts),
            lost_work=scale * sum(part.lost_work for part in parts),
        ),
        deviation=np.sqrt(variance),
        interrupted=interrupted / (1 + interrupted),
        planned=terms.planned_share * warned / np.where(interrupted > 0, interrupted, 1.0),
        degraded=terms.slowdown / mean_speed(terms.slow, ranks, communication_share) - 1,
        starved=stall_s / step_s,
        startup_s=known_s,
        restart_s=restart_s,
    )
