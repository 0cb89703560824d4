"""What spares and repairs leave of the nodes of n campaigns, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.campaign.partial import isolated_service, shrinking_service
from simulator.campaign.spares import offered_repairs, waiting_share
from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What spares and repairs leave of the nodes."""

    waiting: FloatArray
    """Share of the time in which the job stands still for want of nodes."""
    speed: FloatArray
    """Mean speed over that of the whole job, the rest of the time."""
    whole_groups: FloatArray
    """Mean share of the groups that have all of their nodes."""
    regrowths_per_s: FloatArray
    spare: FloatArray
    """Share of all nodes that are spares."""
    idle: FloatArray
    """Share of the paid nodes that hold no ranks."""
    unpaid: FloatArray
    """Share of all nodes that the provider has taken away, so that nobody pays for them."""


def crew_of(
    terms: CampaignTerms,
    n_nodes: FloatArray,
    n_spares: npt.ArrayLike | None,
    *,
    n_groups: npt.ArrayLike,
    n_copies: npt.ArrayLike,
) -> Crew:
    """Return how many nodes jobs have; None are endless spares."""
    one, zero = np.ones_like(n_nodes), np.zeros_like(n_nodes)
    crew = Crew(
        waiting=zero,
        speed=one,
        whole_groups=one,
        regrowths_per_s=zero,
        spare=zero,
        idle=zero,
        unpaid=zero,
    )
    if n_spares is None:
        return crew
    spares = np.broadcast_to(np.asarray(n_spares, float), n_nodes.shape)
    rate_s, repair_s = terms.removals.per_device_s * terms.devices_per_node, terms.removals.repair_s
    spare = spares / (n_nodes + spares)
    away = offered_repairs(n_nodes, rate_s, repair_s) / (n_nodes + spares)
    crew = _paid(crew, terms, spare=spare, idle=spare, away=away)
    if terms.recovery == "isolate":
        service = isolated_service(
            n_nodes, n_groups, spares, failures_per_node_s=rate_s, repair_s=repair_s
        )
        return replace(crew, whole_groups=service.speed)
    if terms.recovery == "shrink":
        service = shrinking_service(
            n_nodes, n_copies, spares, failures_per_node_s=rate_s, repair_s=repair_s
        )
        crew = replace(
            crew,
            waiting=service.stopped,
            speed=service.speed,
            regrowths_per_s=service.regrowths_per_s,
        )
        # Only nodes that hold ranks are struck.
        away = away * service.speed * (1 - service.stopped)
        return _paid(crew, terms, spare=spare, idle=1 - (1 - spare) * service.speed, away=away)
    repairs = offered_repairs(n_nodes, rate_s, repair_s)
    return replace(crew, waiting=waiting_share(repairs, spares))


def _paid(
    crew: Crew, terms: CampaignTerms, *, spare: FloatArray, idle: FloatArray, away: FloatArray
) -> Crew:
    """Return the crew with these shares of all nodes, of which some are not paid for."""
    unpaid = np.minimum(idle, terms.removals.unpaid_share * away)
    return replace(crew, spare=spare, idle=(idle - unpaid) / (1 - unpaid), unpaid=unpaid)
