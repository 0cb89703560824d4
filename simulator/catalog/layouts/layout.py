"""What a file of another tool says of a cluster's layout."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from simulator.spec.base import PositiveInt, Spec
from simulator.spec.cluster import LinkSpec
from simulator.spec.fabric_graph import FabricGraph


class Layout(Spec):
    """Counts and links as another tool sees them; None where its file does not say."""

    nodes: PositiveInt | None = None
    devices_per_node: PositiveInt | None = None
    nodes_per_pod: PositiveInt | None = None
    """Nodes under the same leaf switches, where there are several such groups."""
    nodes_per_block: PositiveInt | None = None
    """Nodes of one block of short ways, such as a rack that a scale-up link joins."""
    scale_up_domain_devices: PositiveInt | None = None
    """Devices of a node that direct links join, where those do not join all."""
    scale_up: LinkSpec | None = None
    """The link between devices, where it is not the device's own."""
    has_direct_links: bool | None = None
    """Whether NVLink or the like joins devices of a node."""
    graph: FabricGraph | None = None
    """The whole fabric, link by link."""
    nics_per_node: int | None = Field(default=None, ge=0)
    nic_bandwidth_bytes_per_s: float | None = Field(default=None, gt=0)
    """Of one network interface."""


def joined(n_devices: int, pairs: Iterable[tuple[int, int]]) -> set[int]:
    """Return the sizes of the groups into which pairs of devices, numbered from 0, join them."""
    group = list(range(n_devices))

    def root(device: int) -> int:
        while group[device] != device:
            device = group[device]
        return device

    for one, other in pairs:
        group[root(one)] = root(other)
    roots = [root(device) for device in range(n_devices)]
    return {roots.count(each) for each in roots}
