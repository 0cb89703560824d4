"""What a campaign costs: money, energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.money import MoneyTerms
from simulator.campaign.power import PowerTerms
from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import BoolArray, FloatArray

J_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Money, energy and carbon of n campaigns; None where a price or a power is unknown."""

    cost_usd: FloatArray | None
    energy_j: FloatArray | None
    co2_kg: FloatArray | None


def bill(
    terms: CampaignTerms,
    *,
    device_s: FloatArray,
    calendar_s: FloatArray,
    busy_share: FloatArray,
    spare_share: npt.ArrayLike = 0.0,
    communication_share: npt.ArrayLike = 0.0,
) -> Bill:
    """Bill paid device-seconds of which a share is busy, a share holds no rank, the rest idles.

    `communication_share` is that part of the busy time in which nothing is computed. Work that a
    failure undoes counts as busy: its energy was spent.
    """
    energy_j = co2_kg = cost_usd = None
    with np.errstate(invalid="ignore"):  # of campaigns that never end
        if terms.power is not None:
            spare = np.asarray(spare_share, float)
            energy_j = device_s * _mean_w(terms.power, busy_share, spare, communication_share)
            co2_kg = energy_j / J_PER_KWH * terms.power.kg_co2_per_kwh
        if terms.money is not None:
            cost_usd = _cost_usd(terms.money, device_s, calendar_s)
            if energy_j is not None:
                cost_usd += terms.money.usd_per_kwh * energy_j / J_PER_KWH
    endless = ~np.isfinite(calendar_s)
    return Bill(
        cost_usd=_or_infinite(cost_usd, endless),
        energy_j=_or_infinite(energy_j, endless),
        co2_kg=_or_infinite(co2_kg, endless),
    )


def _mean_w(
    power: PowerTerms,
    busy_share: FloatArray,
    spare_share: FloatArray,
    communication_share: npt.ArrayLike,
) -> FloatArray:
    """Mean draw of a device at the facility's meter."""
    saved_w = power.busy_w - power.communicating_w
    busy_w = power.busy_w - saved_w * np.asarray(communication_share, float)
    idle_share = 1 - busy_share - spare_share
    mean_w = busy_share * busy_w + idle_share * power.idle_w + spare_share * power.spare_w
    return np.asarray(power.pue * mean_w)


def _cost_usd(money: MoneyTerms, device_s: FloatArray, calendar_s: FloatArray) -> FloatArray:
    """Rent or capital, storage and egress; electricity comes on top."""
    rent = money.rent_usd_per_device(calendar_s) * device_s / calendar_s
    return np.asarray(rent + money.usd_per_s * calendar_s + money.usd_once)


def _or_infinite(column: FloatArray | None, endless: BoolArray) -> FloatArray | None:
    return None if column is None else np.where(endless, np.inf, column)
