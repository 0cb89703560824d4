"""What a site must have for a campaign: results, never inputs."""

from __future__ import annotations

from simulator.spec.base import Spec


class SiteNeeds(Spec):
    """Nodes, power, network and storage of one campaign."""

    nodes: int
    """That hold ranks."""
    spare_nodes: int
    """Those of the plan; where a replacement is taken to be always at hand, as many as keep the
    job complete for 99 % of the time."""
    spares_at_hand: bool
    """Whether those wait elsewhere, and nobody here pays or powers them before they are needed."""
    power_w: float | None
    """At the facility's meter with all nodes of the job busy, beside the spares unless those are
    at hand elsewhere. None where no power is known."""
    node_network_bytes_per_s: float
    """Of all interfaces of a node to the fabric, one way."""
    storage_bytes: float
    """Dataset and the checkpoints that the safest tier keeps, two where it does not say."""
    checkpoint_bytes: float
    store_write_bytes_per_s: float
    """Bandwidth of the safest checkpoint tier with which all of this was predicted."""
    store_read_bytes_per_s: float | None
    """Under which steps hardly ever wait for data; None where data are taken to be always there."""
    reader_hosts: int
    """Hosts beside the training nodes that must read and decode."""
