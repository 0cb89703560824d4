"""Prices that a device can be had for: those that the user was quoted, and the catalog's."""

from __future__ import annotations

from simulator.catalog.registry import find_device, find_price, prices_of
from simulator.spec.economics import EconomicsSpec
from simulator.spec.errors import InputError
from simulator.spec.price import PriceProfile


def offers_of(economics: EconomicsSpec, device_name: str) -> tuple[PriceProfile, ...]:
    """Return all prices of a device, the user's own first."""
    quoted = tuple(
        offer for offer in economics.offers if find_device(offer.device).name == device_name
    )
    return quoted + prices_of(device_name)


def find_offer(economics: EconomicsSpec, name: str, *, where: str) -> PriceProfile:
    """Return the user's offer, or the catalog's price list, of that name."""
    quoted = {offer.name: offer for offer in economics.offers}
    return quoted.get(name) or find_price(name, where=where)


def has_offer(economics: EconomicsSpec, device_name: str) -> bool:
    """Return whether a device can be had from the provider and on the terms that are asked for."""
    return bool(_wanted(economics, device_name))


def chosen_offer(economics: EconomicsSpec, device_name: str) -> PriceProfile | None:
    """Return the price list that a device is rented by: the named one, or the first that is wanted.

    None where the scenario says its price itself, and where none of the device is known. Raises
    InputError for a name that is not known, and where there are prices, but none from that provider
    or on those terms.
    """
    if economics.says_price:
        return None
    if economics.price is not None:
        return find_offer(economics, economics.price, where="economics.price")
    wanted, offers = _wanted(economics, device_name), offers_of(economics, device_name)
    if wanted:
        return wanted[0]
    asked = " ".join(word for word in (economics.provider, economics.commitment) if word)
    if not asked or not offers:
        return None
    known = ", ".join(f"{offer.provider} {offer.commitment}" for offer in offers)
    raise InputError(
        f"no {asked} price of {device_name} is known",
        where="economics.commitment" if economics.commitment else "economics.provider",
        fix=f"give it under economics.offers, or take one of {known}",
    )


def _wanted(economics: EconomicsSpec, device_name: str) -> tuple[PriceProfile, ...]:
    return tuple(
        offer
        for offer in offers_of(economics, device_name)
        if economics.provider in (None, offer.provider)
        and economics.commitment in (None, offer.commitment)
    )
