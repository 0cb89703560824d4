"""What a campaign costs: money, energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray

J_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Money, energy and carbon of n campaigns; None where a price or a power is unknown."""

    cost_usd: FloatArray | None
    energy_j: FloatArray | None
    co2_kg: FloatArray | None


def bill(terms: CampaignTerms, *, device_s: FloatArray, busy_share: FloatArray) -> Bill:
    """Bill paid device-seconds of which a share computes and the rest idles.

    Work that a failure undoes counts as busy: its energy was spent.
    """
    energy_j = None
    if terms.power is not None:
        mean_w = busy_share * terms.power.busy_w + (1 - busy_share) * terms.power.idle_w
        energy_j = device_s * mean_w * terms.power.pue
    return Bill(
        cost_usd=(
            None
            if terms.usd_per_device_hour is None
            else device_s / 3600 * terms.usd_per_device_hour
        ),
        energy_j=energy_j,
        co2_kg=(
            None
            if energy_j is None or terms.power is None
            else energy_j / J_PER_KWH * terms.power.kg_co2_per_kwh
        ),
    )
