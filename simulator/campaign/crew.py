"""What spares and repairs leave of the nodes of n campaigns, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.campaign.partial import (
    PartialService,
    Upkeep,
    isolated_service,
    replanned_service,
    shrinking_service,
    waiting_service,
)
from simulator.campaign.shapes import BestOnFewer
from simulator.campaign.terms import CampaignTerms
from simulator.cost.plan_table import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What spares and repairs leave of the nodes."""

    waiting: FloatArray
    """Share of the time in which the job stands still for want of nodes."""
    speed: FloatArray
    """Mean share of the nodes that run, the rest of the time."""
    efficiency: FloatArray
    """Speed over what those nodes would do in the whole job."""
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
    best: BestOnFewer | None,
) -> Crew:
    """Return how many nodes jobs have; None are endless spares."""
    one, zero = np.ones_like(n_nodes), np.zeros_like(n_nodes)
    if n_spares is None:
        return Crew(
            waiting=zero,
            speed=one,
            efficiency=one,
            whole_groups=one,
            regrowths_per_s=zero,
            spare=zero,
            idle=zero,
            unpaid=zero,
        )
    spares = np.broadcast_to(np.asarray(n_spares, float), n_nodes.shape)
    service = _service(terms, n_nodes, spares, n_groups=n_groups, n_copies=n_copies, best=best)
    apart = terms.recovery == "isolate"
    speed = one if apart else service.speed
    spare = spares / (n_nodes + spares)
    idle = 1 - (1 - spare) * speed
    unpaid = np.minimum(idle, terms.removals.unpaid_share * service.in_repair / (n_nodes + spares))
    return Crew(
        waiting=service.stopped,
        speed=speed,
        efficiency=service.efficiency,
        whole_groups=service.speed if apart else one,
        regrowths_per_s=service.regrowths_per_s,
        spare=spare,
        idle=(idle - unpaid) / (1 - unpaid),
        unpaid=unpaid,
    )


def _service(
    terms: CampaignTerms,
    n_nodes: FloatArray,
    spares: FloatArray,
    *,
    n_groups: npt.ArrayLike,
    n_copies: npt.ArrayLike,
    best: BestOnFewer | None,
) -> PartialService:
    """Return what nodes in repair leave of jobs, by what their recovery does about it."""
    upkeep = Upkeep(
        failures_per_node_s=terms.removals.per_device_s * terms.devices_per_node,
        repair_s=terms.removals.repair_s,
        n_crews=terms.removals.n_crews,
        n_hot=terms.spares.n_hot,
    )
    if terms.recovery == "isolate":
        return isolated_service(n_nodes, n_groups, spares, upkeep)
    if terms.recovery == "shrink":
        return shrinking_service(n_nodes, n_copies, spares, upkeep)
    if terms.recovery == "replan":
        return replanned_service(n_nodes, spares, upkeep, best=best)
    return waiting_service(n_nodes, spares, upkeep)
