"""A fabric's graph as levels: what one device can send out of its node, and out of its pod.

Nodes on the same switches are a pod. What leaves a block of nodes is bounded by the least cut
between them and all others, and by that between the two halves of the fabric.

References
----------
.. [1] Ford, Fulkerson, "Maximal flow through a network", Canad. J. Math. 8 (1956): the largest flow
   is the least cut.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.fabric_graph import FabricGraph

if TYPE_CHECKING:
    import networkx as nx

MAX_CUTS = 16
"""Pods whose cut is looked for, spread over all."""
_FULL = 1.001
"""Oversubscription below which pods are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLevels:
    """What the closed form sees of a graph."""

    device_bytes_per_s: float
    """Line rate out of a node, per device of it."""
    latency_s: float
    """Of the links between neighbouring nodes, on average."""
    nodes_per_pod: int
    """0 where the fabric is one block."""
    oversubscription: float


def levels_of(graph: FabricGraph, n_nodes: int, devices_per_node: int) -> GraphLevels:
    """Return the levels of a graph that joins so many nodes.

    Pods that are not equally large blocks of neighbouring nodes are no level of their own: then
    every device has what the tightest cut leaves it.
    """
    hosts = _hosts_by_node(graph, n_nodes, devices_per_node)
    joined = _with_ends(graph)
    access = min(sum(joined.degree(host, weight="capacity") for host in each) for each in hosts)
    own = access / devices_per_node
    pods = _pods(graph, hosts)
    halves = [[*range(n_nodes // 2)]] if n_nodes > 1 else []
    blocks = [*pods[:: -(-len(pods) // MAX_CUTS)], *halves] if len(pods) > 1 else halves
    cuts = [_cut(joined, hosts, block) / len(block) / devices_per_node for block in blocks]
    tightest = min([own, *cuts])
    size = len(pods[0])
    in_order = [[*range(at, min(at + size, n_nodes))] for at in range(0, n_nodes, size)]
    is_level = pods == in_order and len(pods) > 1 and own / tightest > _FULL
    return GraphLevels(
        device_bytes_per_s=own if is_level else tightest,
        latency_s=_latency_s(joined, [each[0] for each in hosts]),
        nodes_per_pod=size if is_level else 0,
        oversubscription=own / tightest if is_level else 1.0,
    )


def _hosts_by_node(graph: FabricGraph, n_nodes: int, devices_per_node: int) -> list[list[str]]:
    devices = range(n_nodes * devices_per_node)
    hosts = [graph.host_of(device, devices_per_node) for device in devices]
    return [
        [*dict.fromkeys(hosts[node * devices_per_node : (node + 1) * devices_per_node])]
        for node in range(n_nodes)
    ]


def _with_ends(graph: FabricGraph) -> nx.Graph[str]:
    import networkx as nx

    joined: nx.Graph[str] = nx.Graph()
    for link in graph.links:
        rate, latency_s = link.bandwidth_bytes_per_s, link.latency_s
        joined.add_edge(*link.ends, capacity=rate, latency_s=latency_s)
    return joined


def _pods(graph: FabricGraph, hosts: list[list[str]]) -> list[list[int]]:
    """Nodes on the same switches, in the order of their first nodes."""
    pods: dict[frozenset[str], list[int]] = {}
    neighbours = graph.neighbours
    for node, own in enumerate(hosts):
        switches = frozenset(itertools.chain(*(neighbours[host] for host in own)))
        pods.setdefault(switches, []).append(node)
    return [*pods.values()]


def _cut(joined: nx.Graph[str], hosts: list[list[str]], block: list[int]) -> float:
    """Bandwidth of the least cut between a block of nodes and all others, in bytes/s [1]_."""
    import networkx as nx

    inside = set(block)
    split = nx.Graph(joined)
    for node, own in enumerate(hosts):
        end = "(inside)" if node in inside else "(outside)"
        split.add_edges_from((host, end) for host in own)  # without a capacity: no bound
    return float(nx.minimum_cut_value(split, "(inside)", "(outside)"))


def _latency_s(joined: nx.Graph[str], hosts: list[str]) -> float:
    """Latency of the links between one node and the next, around all of them, on average."""
    import networkx as nx

    if len(hosts) == 1:
        return 0.0
    ways = itertools.pairwise([*hosts, hosts[0]])
    each = [nx.shortest_path_length(joined, a, b, weight="latency_s") for a, b in ways]
    return float(sum(each)) / len(each)
