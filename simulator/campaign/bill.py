"""What a campaign costs: money, energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray

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
    communication_share: npt.ArrayLike = 0.0,
) -> Bill:
    """Bill paid device-seconds of which a share is busy and the rest idles.

    `communication_share` is that part of the busy time in which nothing is computed. Work that a
    failure undoes counts as busy: its energy was spent.
    """
    energy_j = co2_kg = cost_usd = None
    if terms.power is not None:
        power = terms.power
        saved_w = power.busy_w - power.communicating_w
        busy_w = power.busy_w - saved_w * np.asarray(communication_share, float)
        mean_w = busy_share * busy_w + (1 - busy_share) * power.idle_w
        energy_j = device_s * mean_w * power.pue
        co2_kg = energy_j / J_PER_KWH * power.kg_co2_per_kwh
    if terms.money is not None:
        money = terms.money
        rent = money.rent_usd_per_device(calendar_s) * device_s / calendar_s
        cost_usd = rent + money.usd_per_s * calendar_s + money.usd_once
        if energy_j is not None:
            cost_usd = cost_usd + money.usd_per_kwh * energy_j / J_PER_KWH
    return Bill(cost_usd=cost_usd, energy_j=energy_j, co2_kg=co2_kg)
