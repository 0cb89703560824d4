"""A price of one device-hour: whose, for how long, of which date."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import Name, Spec
from simulator.spec.units import Seconds, Usd

Commitment = Literal["on-demand", "reserved", "spot", "capacity-block"]


class PriceProfile(Spec):
    """What one device costs per hour."""

    name: Name
    device: Name
    usd_per_device_hour: Usd = Field(gt=0)
    commitment: Commitment = "on-demand"
    provider: str = Field(min_length=1, max_length=60)
    date: str = Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")
    """When it was read, as 2026-11-25, 2026-11 or 2026."""
    committed_s: Seconds = Field(default=0.0, ge=0)
    """The rent is paid for at least that long (a reservation)."""
    source: str = ""
    reliability: str = ""
