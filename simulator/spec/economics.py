"""Prices, power and carbon of one campaign."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from simulator.spec.base import Name, NonNegative, Positive, Spec
from simulator.spec.price import Commitment, PriceProfile
from simulator.spec.units import Bytes, Seconds, Usd, Watts


class PriceStep(Spec):
    """What one device costs from some time of the campaign on."""

    from_s: Seconds = Field(ge=0)
    usd_per_device_hour: Usd = Field(ge=0)


class OwnershipSpec(Spec):
    """Hardware that is bought instead of rented; electricity comes on top."""

    usd_per_device: Usd = Field(gt=0)
    """Device with its share of host, fabric and building."""
    years: Positive = 5.0
    """Over which it is written off."""
    usd_per_device_hour: Usd = Field(default=0.0, ge=0)
    """Staff, space, spare parts."""
    usd_per_kwh: Usd = Field(default=0.08, ge=0)
    """Electricity, at the meter of the facility."""


class EconomicsSpec(Spec):
    """Prices, power and carbon."""

    price: Name | None = None
    """Price list of the catalog or of `offers`; default is the device's first one."""
    provider: str | None = Field(default=None, min_length=1, max_length=60)
    commitment: Commitment | None = None
    """The first price list of that provider and commitment is taken, or those rows of the file of
    `price_series`."""
    offers: tuple[PriceProfile, ...] = Field(default=(), max_length=64)
    """Prices that one was quoted, beside the catalog's; they come first, and `size` compares them
    all."""
    usd_per_device_hour: Usd | None = Field(default=None, ge=0)
    """Overrides the price list."""
    price_series: tuple[PriceStep, ...] = Field(default=(), max_length=100_000)
    """Prices that change during the campaign (spot), in place of one: a list, or a file with the
    columns date, price, currency and, if known, provider and commitment."""
    committed_s: Seconds = Field(default=0.0, ge=0)
    """The rent is paid for at least that long (a reservation); 0 means as the price list says."""
    own: OwnershipSpec | None = None
    """In place of a rent."""
    usd_per_tb_month: Usd | None = Field(default=None, ge=0)
    """Storage of dataset and checkpoints, per 10^12 bytes."""
    stored_bytes: Bytes | None = Field(default=None, ge=0)
    """What is stored throughout; default is the dataset and the checkpoints that the safest tier
    keeps, two where it does not say."""
    egress_bytes: Bytes = Field(default=0.0, ge=0)
    """What leaves the provider in all."""
    usd_per_tb_egress: Usd = Field(default=0.0, ge=0)
    grid: Name = "us-average-2024"
    """Carbon intensity profile of the catalog."""
    kg_co2_per_kwh: NonNegative | None = None
    pue: Positive = 1.1
    """Facility power over IT power."""
    device_power: Watts | None = Field(default=None, ge=0)
    """Average draw of one busy device; default from its data sheet."""
    communication_power: Watts | None = Field(default=None, ge=0)
    """Draw of a device while it only communicates; default is that of a busy one."""
    idle_power: Watts | None = Field(default=None, ge=0)
    """Draw of an idle device; default from its data sheet."""
    fabric_power_per_device: Watts | None = Field(default=None, ge=0)
    """Switches and optics, busy or not; default is what nobody counts."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [
            name
            for name in ("usd_per_device_hour", "price_series", "own")
            if getattr(self, name) not in (None, ())
        ]
        if len(given) > 1:
            raise ValueError(f"give {given[0]} or {given[1]}, not both")
        narrowed = [name for name in ("provider", "commitment") if getattr(self, name)]
        settled = [name for name in ("price", "usd_per_device_hour", "own") if getattr(self, name)]
        if narrowed and settled:
            raise ValueError(f"give {settled[0]} or {narrowed[0]}, not both")
        names = [offer.name for offer in self.offers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"offer {twice[0]!r} is given twice")
        if self.own is not None and self.committed_s > 0:
            raise ValueError("committed_s is of a rent, and the hardware is one's own")
        times = [step.from_s for step in self.price_series]
        if times and (times[0] != 0 or times != sorted(set(times))):
            raise ValueError(
                "price_series begins at from_s=0, and every step is later than the one before it"
            )
        return self

    @property
    def says_price(self) -> bool:
        """Whether the price stands here, so that no price list is asked."""
        return bool(self.price_series) or (self.own, self.usd_per_device_hour) != (None, None)

    def rented_by(self, offer: PriceProfile) -> EconomicsSpec:
        """Return the same with the price and the term of an offer."""
        free = {"provider": None, "commitment": None, "committed_s": 0.0}
        other = {"usd_per_device_hour": None, "own": None, "price_series": ()}
        return self.model_copy(update={"price": offer.name, **free, **other})
