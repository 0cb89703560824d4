"""How much work lies between the saves to every checkpoint tier.

A save to a tier starts from the copy in the one before it, so that it falls on a multiple of that
one's interval. A tier that is written behind the training costs nothing but that copy: it is saved
to as often as the nearest tier before it that stops training for a save, which leads it. The
interval of a leader is the exact optimum for what it costs and for the failures of all tiers that
follow it as often; no tier saves less often than the next leader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.campaign.renewal import optimal_interval_s
from simulator.cost.plan_table import FloatArray

_SHORTEST_S, _LONGEST_S = 1e-6, 1e15
"""Between which intervals are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierMoves:
    """How long n campaigns take to save to one tier and to read it; arrays have shape (n,)."""

    blocking: bool
    """Whether training stands still until it is written."""
    stall_s: FloatArray
    """Standstill of training for one save."""
    persist_s: FloatArray
    """From the stall until the checkpoint is safe."""
    load_s: FloatArray
    mtbf_s: FloatArray
    """Mean time between the failures after which it is read; infinite where nothing fails."""
    asked_s: FloatArray
    """Interval that somebody asks for; 0 where it is open."""

    @property
    def least_s(self) -> FloatArray:
        """Shortest interval that makes sense: what is asked for, or the time of the write."""
        return np.where(self.asked_s > 0, self.asked_s, self.persist_s)


def intervals_s(
    tiers: Sequence[TierMoves], step_s: FloatArray, whole_s: FloatArray
) -> list[FloatArray]:
    """Return the work between two saves to each tier, from the nearest to the safest.

    None is longer than the whole work.
    """
    led = _led_intervals_s(tiers, step_s)
    found: list[FloatArray] = []
    for tier, leads_s in zip(tiers, led, strict=True):
        grid_s = found[-1] if found else step_s
        best_s = np.maximum(leads_s, np.maximum(tier.persist_s, grid_s))
        if found:
            best_s = grid_s * np.ceil(best_s / grid_s * (1 - 1e-12))
        found.append(np.minimum(np.where(tier.asked_s > 0, tier.asked_s, best_s), whole_s))
    return found


def _led_intervals_s(tiers: Sequence[TierMoves], step_s: FloatArray) -> list[FloatArray]:
    """Return what each leader aims at; 0 for those who follow one."""
    led = [np.zeros_like(step_s) for _ in tiers]
    followers: list[TierMoves] = []
    longest_s = np.full_like(step_s, np.inf)
    for position in range(len(tiers) - 1, -1, -1):
        tier = tiers[position]
        if position > 0 and not tier.blocking:
            followers.append(tier)
            continue
        best_s = np.minimum(_best_s(tier, followers), longest_s)
        led[position] = longest_s = np.where(tier.asked_s > 0, tier.asked_s, best_s)
        followers = []
    return led


def _best_s(leader: TierMoves, followers: Sequence[TierMoves]) -> FloatArray:
    """Return the best interval of a leader.

    A follower whose write takes longer, or of which a longer interval is asked, gains nothing from
    a shorter one. So the best is the exact optimum for the failures of those that gain, or where
    the interval of a follower begins to grow; of these the one that loses least is taken.
    """
    tried = [optimal_interval_s(leader.stall_s, _mtbf_s(leader, followers, np.inf))]
    for follower in followers:
        longest_s = follower.least_s * (1 - 1e-9)
        tried.append(optimal_interval_s(leader.stall_s, _mtbf_s(leader, followers, longest_s)))
        tried += [follower.least_s / part for part in (1, 2, 3)]
    best_s = tried[0]
    least = _lost(leader, followers, best_s)
    for every_s in tried[1:]:
        lost = _lost(leader, followers, every_s)
        best_s, least = np.where(lost < least, every_s, best_s), np.minimum(lost, least)
    for follower in followers:
        shorter = (follower.asked_s > 0) & (follower.asked_s < best_s)
        best_s = np.where(shorter, follower.asked_s, best_s)
    return best_s


def _lost(leader: TierMoves, followers: Sequence[TierMoves], every_s: FloatArray) -> FloatArray:
    """Share of the time that is lost, to first order: the saves and half an interval a failure."""
    grid_s = np.clip(np.maximum(every_s, leader.persist_s), _SHORTEST_S, _LONGEST_S)
    lost = leader.stall_s / grid_s + grid_s / 2 / leader.mtbf_s
    for follower in reversed(followers):
        grid_s = grid_s * np.ceil(np.maximum(1.0, follower.least_s / grid_s * (1 - 1e-12)))
        lost = lost + grid_s / 2 / follower.mtbf_s
    return np.asarray(lost)


def _mtbf_s(
    leader: TierMoves, followers: Sequence[TierMoves], longest_s: FloatArray | float
) -> FloatArray:
    """Return the time between failures of a leader and those who follow within an interval."""
    rate_s = 1 / leader.mtbf_s
    for follower in followers:
        rate_s = rate_s + np.where(follower.least_s <= longest_s, 1 / follower.mtbf_s, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / rate_s)
