"""Fabrics that a graph draws: over what a device usually has, and for fewer nodes."""

from __future__ import annotations

from typing import Any

from simulator.catalog.layouts.graph_levels import levels_of
from simulator.spec.base import Basis, Source
from simulator.spec.cluster import FabricSpec
from simulator.spec.fabric_graph import FabricGraph

_DRAWN = Source(field="graph", basis=Basis.MEASURED, source="drawn by the user")


def drawn_fabric(
    graph: FabricGraph, fabric: FabricSpec, n_nodes: int, devices_per_node: int
) -> FabricSpec:
    """Return the fabric that a graph draws of its first nodes, over what the device usually has.

    Raises InputError where other nodes lead from one of these to the next.
    """
    hosts = _hosts(graph, n_nodes, devices_per_node)
    if graph.n_hosts < hosts:
        return fabric.model_copy(update={"graph": graph})  # `ClusterSpec` says what is wrong
    graph = graph.of_first(hosts)
    levels = levels_of(graph, n_nodes, devices_per_node)
    ends_s = fabric.nic.latency_s if graph.end_latency_s is None else graph.end_latency_s
    nic = {
        "bandwidth_bytes_per_s": levels.device_bytes_per_s,
        "latency_s": ends_s + levels.latency_s,
    }
    changes: dict[str, Any] = {
        "kind": "fat-tree",
        "nic": fabric.nic.model_copy(update=nic),
        "nics_per_node": 0,
        "nodes_per_pod": levels.nodes_per_pod,
        "oversubscription": levels.oversubscription,
        "n_regions": 1,
        "wide_area": None,
        "graph": graph.model_copy(update={"end_latency_s": ends_s}),
    }
    others = tuple(source for source in fabric.sources if source != _DRAWN)
    return fabric.model_copy(update=changes | {"sources": (*others, _DRAWN)})


def fabric_of_first(fabric: FabricSpec, n_nodes: int, devices_per_node: int) -> FabricSpec:
    """Return the fabric of so many of its nodes; only a graph knows how many it joins.

    Raises InputError where a graph joins fewer, or not these by themselves.
    """
    graph = fabric.graph
    if graph is None or graph.n_hosts == (hosts := _hosts(graph, n_nodes, devices_per_node)):
        return fabric
    return drawn_fabric(graph.of_first(hosts), fabric, n_nodes, devices_per_node)


def _hosts(graph: FabricGraph, n_nodes: int, devices_per_node: int) -> int:
    return n_nodes if graph.host_kind == "node" else n_nodes * devices_per_node
