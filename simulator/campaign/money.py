"""Prices resolved to rates: rent that may change, hardware of one's own, storage, egress."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.catalog.offers import chosen_offer
from simulator.cost.plan_table import FloatArray
from simulator.spec.cluster import ClusterSpec
from simulator.spec.economics import EconomicsSpec
from simulator.spec.price import PriceProfile

YEAR_H = 365.25 * 24
MONTH_S = YEAR_H * 3600 / 12
TB = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyTerms:
    """What a campaign pays for."""

    times_s: tuple[float, ...]
    usd_per_device_hour: tuple[float, ...]
    """From each of the times on."""
    committed_s: float
    """The rent is paid for at least that long."""
    usd_per_kwh: float
    """0 where the rent includes electricity."""
    usd_per_s: float
    """Storage."""
    usd_once: float
    """Egress."""

    @property
    def lowest_usd_per_device_hour(self) -> float:
        """The rent at its lowest."""
        return min(self.usd_per_device_hour)

    def rent_usd_per_device(self, calendar_s: FloatArray) -> FloatArray:
        """Rent of one device from the start to the end of campaigns."""
        times, rates = np.array(self.times_s), np.array(self.usd_per_device_hour)
        paid_s = np.maximum(calendar_s, self.committed_s)
        paid = np.concatenate(([0.0], np.cumsum(rates[:-1] * np.diff(times) / 3600)))
        step = np.searchsorted(times, paid_s, side="right") - 1
        return np.asarray(paid[step] + rates[step] * (paid_s - times[step]) / 3600)


def money_terms(
    cluster: ClusterSpec, economics: EconomicsSpec, *, stored_bytes: float
) -> MoneyTerms | None:
    """Return what a campaign pays for, or None where no rent is known.

    Raises InputError for an unknown price list.
    """
    offer = chosen_offer(economics, cluster.device.name)
    rates = _rates(economics, offer)
    if rates is None:
        return None
    offered_s = 0.0 if offer is None else offer.committed_s
    stored = stored_bytes if economics.stored_bytes is None else economics.stored_bytes
    return MoneyTerms(
        times_s=tuple(time_s for time_s, _ in rates),
        usd_per_device_hour=tuple(usd for _, usd in rates),
        committed_s=economics.committed_s or offered_s,
        usd_per_kwh=0.0 if economics.own is None else economics.own.usd_per_kwh,
        usd_per_s=(economics.usd_per_tb_month or 0.0) * stored / TB / MONTH_S,
        usd_once=economics.usd_per_tb_egress * economics.egress_bytes / TB,
    )


def _rates(
    economics: EconomicsSpec, offer: PriceProfile | None
) -> list[tuple[float, float]] | None:
    """Return (time, dollars per device-hour) steps."""
    if economics.price_series:
        return [(step.from_s, step.usd_per_device_hour) for step in economics.price_series]
    if economics.own is not None:
        own = economics.own
        return [(0.0, own.usd_per_device / (own.years * YEAR_H) + own.usd_per_device_hour)]
    if economics.usd_per_device_hour is not None:
        return [(0.0, economics.usd_per_device_hour)]
    return None if offer is None else [(0.0, offer.usd_per_device_hour)]
