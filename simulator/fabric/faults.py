"""Links that are slow or gone, in the graph of a cluster.

The closed form takes the same faults as a smaller bandwidth of their level
(`ClusterSpec.remaining_bandwidth`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.spec.cluster import ClusterSpec
from simulator.spec.links import LinkFault

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.Graph[str]


def weaken(graph: Graph, cluster: ClusterSpec, fault: LinkFault) -> None:
    """Take bandwidth, in both directions, from the links that a fault is about, or remove them."""
    for end, other in _links(graph, cluster, fault):
        if fault.remaining:
            graph[end][other]["bandwidth_bytes_per_s"] *= fault.remaining
        else:
            graph.remove_edge(end, other)


def _links(graph: Graph, cluster: ClusterSpec, fault: LinkFault) -> list[tuple[str, str]]:
    device = f"device-{fault.device}"
    node, nic = fault.device // cluster.devices_per_node, cluster.nic_of(fault.device)
    pod, region = graph.nodes[device]["pod"], graph.nodes[device]["region"]
    top = f"core-{region}" if "pods" in cluster.level_devices else f"spine-{pod}"
    below, above = {
        "scale-up": (device, ("domain", "device")),
        "scale-out": (f"nic-{node}-{nic}", ("leaf",)),
        "pods": (f"spine-{pod}", ("core",)),
        "regions": (top, ("wide-area",)),
    }[fault.level]
    return [(below, other) for other in graph[below] if other.startswith(above)]
