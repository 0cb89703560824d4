"""What a site must have for a campaign: nodes with spares, power, network, storage."""

from __future__ import annotations

import numpy as np

from simulator.campaign.checkpoint_size import checkpoint_bytes
from simulator.campaign.decided import decided
from simulator.campaign.partial import Upkeep, waiting_service
from simulator.campaign.spares import offered_repairs
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import CampaignPrediction
from simulator.spec.scenario import Scenario
from simulator.spec.site import SiteNeeds

COMPLETE = 0.99
"""Share of the time in which enough spares leave the job all of its nodes."""
MANY_DEVIATIONS = 8.0


def site_needs(scenario: Scenario, plan: PlanSpec, campaign: CampaignPrediction) -> SiteNeeds:
    """Return what the site of a campaign must have, as it was predicted."""
    scenario = decided(scenario, plan)
    terms, cluster = campaign_terms(scenario), scenario.cluster
    n_nodes = -(-plan.n_ranks // cluster.devices_per_node)
    spares = enough_spares(terms, n_nodes) if terms.n_spare_nodes is None else terms.n_spare_nodes
    safest, data = terms.tiers[-1].spec, campaign.input_needs
    rate = safest.write_bandwidth_bytes_per_s
    return SiteNeeds(
        nodes=n_nodes,
        spare_nodes=spares,
        spares_at_hand=terms.n_spare_nodes is None,
        power_w=_power_w(terms, n_nodes),
        node_network_bytes_per_s=cluster.nics_of_node * cluster.fabric.nic.bandwidth_bytes_per_s,
        storage_bytes=terms.stored_bytes,
        checkpoint_bytes=checkpoint_bytes(scenario.model, scenario.job),
        store_write_bytes_per_s=rate if safest.shared else rate * n_nodes,
        store_read_bytes_per_s=None if data is None else data.store_bytes_per_s,
        reader_hosts=0 if data is None else data.reader_hosts,
    )


def enough_spares(terms: CampaignTerms, n_nodes: int) -> int:
    """Return the fewest idle spares with which all nodes are there for 99 % of the time."""
    upkeep = Upkeep(
        failures_per_node_s=terms.removals.per_device_s * terms.devices_per_node,
        repair_s=terms.removals.repair_s,
        n_crews=terms.removals.n_crews,
    )
    load = float(offered_repairs(n_nodes, upkeep.failures_per_node_s, upkeep.repair_s))
    some = np.arange(min(n_nodes, round(load + MANY_DEVIATIONS * load**0.5) + 1) + 1)
    stopped = waiting_service(np.full(len(some), n_nodes), some, upkeep).stopped
    enough = some[stopped <= 1 - COMPLETE]
    return int(enough[0] if len(enough) else some[-1])


def _power_w(terms: CampaignTerms, n_nodes: int) -> float | None:
    if terms.power is None:
        return None
    per_node, n_spares = terms.devices_per_node, terms.n_spare_nodes or 0
    return terms.power.at_meter_w(n_nodes * per_node, n_spares * per_node)
