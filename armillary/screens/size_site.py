"""What `armillary size` prints below its counts: what a site must have, and what offers cost."""

from __future__ import annotations

from collections.abc import Iterator

from armillary.screens.wrapping import wrapped
from planner.offers import Offered
from planner.size import SizeOption, Sizing
from simulator.spec.units import (
    format_bandwidth,
    format_bytes,
    format_power,
    format_seconds,
    format_usd,
)

MOST_OFFERS = 2
"""Cheapest offers that are shown; --json has all."""


def site_lines(option: SizeOption) -> list[str]:
    """Return what the site of an option must have."""
    needs = option.needs
    power = "" if needs.power_w is None else f", {format_power(needs.power_w)} at the meter"
    apart = " elsewhere" if needs.spares_at_hand and needs.spare_nodes else ""
    data = ""
    if needs.store_read_bytes_per_s is not None:
        data = (
            f" and data at {format_bytes(needs.store_read_bytes_per_s)}/s, "
            f"{needs.reader_hosts:,} reader hosts"
        )
    return wrapped(
        f"{option.n_devices:,} x {option.device} need {needs.nodes:,} nodes and "
        f"{needs.spare_nodes:,} spare{apart}{power}, "
        f"{format_bandwidth(needs.node_network_bytes_per_s)} a node, "
        f"{format_bytes(needs.storage_bytes)} of storage for checkpoints of "
        f"{format_bytes(needs.checkpoint_bytes)} at {format_bytes(needs.store_write_bytes_per_s)}/s"
        f"{data}",
        rest="  ",
    )


def offer_lines(sizing: Sizing, best: SizeOption) -> list[str]:
    """Return the cheapest offers, and the cheapest one of each other commitment.

    Those without a number are of `best`.
    """
    pairs = sorted(_best_offers(sizing), key=lambda pair: pair[1].cost_usd)
    shown = pairs[:MOST_OFFERS]
    for pair in pairs[MOST_OFFERS:]:
        if all(pair[1].commitment != offer.commitment for _, offer in shown):
            shown.append(pair)
    if not shown:
        return []
    return wrapped("by offer: " + "; ".join(_in_words(*pair, best) for pair in shown), rest="  ")


def _in_words(option: SizeOption, offer: Offered, best: SizeOption) -> str:
    same = (option.device, option.n_devices) == (best.device, best.n_devices)
    words = "" if same else f"{option.n_devices:,} x {option.device} "
    words += f"{format_usd(offer.cost_usd)} {offer.commitment} ({offer.name}"
    if offer.committed_s:
        words += f" for {format_seconds(offer.committed_s)}"
    if offer.preemptions_per_node_day is not None:
        words += f", up to {offer.preemptions_per_node_day:.2g} preemptions a node-day"
    return words + ")"


def _best_offers(sizing: Sizing) -> Iterator[tuple[SizeOption, Offered]]:
    """Yield the cheapest offer of each kind and commitment that keeps the goal."""
    best: dict[tuple[str, str], tuple[SizeOption, Offered]] = {}
    for option in sizing.options:
        for offer in option.offers:
            key = option.device, offer.commitment
            if offer.meets_goal and (key not in best or offer.cost_usd < best[key][1].cost_usd):
                best[key] = option, offer
    yield from best.values()
