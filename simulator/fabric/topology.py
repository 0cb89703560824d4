"""The cluster as a graph: devices, scale-up switches, NICs, rails, spines, pods and regions.

Node names are `device-7`, `domain-0`, `nic-0-7` (node, position), `leaf-0-3` (pod, rail), `spine-0`
(pod), `core-0` (region) and `wide-area`. Every edge has, for each direction, the bandwidth that
collectives reach on it (line rate × efficiency), half of a message's latency per end of its path,
and a routing cost. Switches of one tier are one vertex with the bandwidth of all of them: what
equal-cost routing approaches.

A graph is for looking closely: it is refused above `MAX_DEVICES`. Larger clusters repeat
themselves, so a part of one tells the same, and the closed form prices them whole.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import networkx as nx

from simulator.fabric.faults import weaken
from simulator.fabric.scale_up import torus_shape
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.fabric_graph import FabricGraph

if TYPE_CHECKING:
    Graph = nx.Graph[str]

MAX_DEVICES = 4096

COSTS = {"scale-up": 1, "switch": 10, "nic": 100}
"""What routing over a link costs. Traffic stays in its domain where it can, and what leaves it
changes rails inside the domain rather than over a spine."""


def build_graph(cluster: ClusterSpec) -> Graph:
    """Return the graph of a cluster.

    Raises
    ------
    InputError
        For clusters of more than `MAX_DEVICES` devices, tori that are not filled, and a fabric
        that is not connected.
    """
    if cluster.n_devices > MAX_DEVICES:
        raise InputError(
            f"the graph of {cluster.name} would have {cluster.n_devices} devices, "
            f"more than {MAX_DEVICES}",
            fix="take a part of it, such as one pod: the rest behaves alike",
        )
    graph: Graph = nx.Graph(name=cluster.name)
    for device in range(cluster.n_devices):
        graph.add_node(
            f"device-{device}",
            domain=device // cluster.domain_devices,
            pod=device // cluster.pod_devices,
            region=device // cluster.region_devices,
        )
    _add_scale_up(graph, cluster)
    if cluster.fabric.graph is not None:
        _add_drawn(graph, cluster, cluster.fabric.graph)
    elif cluster.domain_devices < cluster.n_devices:
        _add_scale_out(graph, cluster)
    for fault in cluster.link_faults:
        weaken(graph, cluster, fault)
    check_graph(graph)
    return graph


def check_graph(graph: Graph) -> None:
    """Raise an InputError unless all devices are joined by links that carry something."""
    for end, other, link in graph.edges(data=True):
        if not link["bandwidth_bytes_per_s"] > 0:
            rate = link["bandwidth_bytes_per_s"]
            raise InputError(
                f"bandwidth is {rate} bytes/s",
                where=f"link {end} -- {other}",
                fix="it must be positive; leave a dead link out",
            )
    parts = sorted(nx.connected_components(graph), key=len)
    if len(parts) > 1:
        raise InputError(
            f"the fabric is in {len(parts)} parts; {min(parts[0])} reaches only "
            f"{len(parts[0]) - 1} of {len(graph) - 1} others",
            where=graph.name,
            fix="add the missing link",
        )


def _link(
    graph: Graph, end: str, other: str, bandwidth_bytes_per_s: float, latency_s: float, kind: str
) -> None:
    graph.add_edge(
        end,
        other,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        latency_s=latency_s,
        cost=COSTS[kind],
    )


def _add_scale_up(graph: Graph, cluster: ClusterSpec) -> None:
    """Join the devices of every domain: to a switch, to each other, or in a torus."""
    size = cluster.domain_devices
    link = cluster.scale_up
    rate = link.bandwidth_bytes_per_s * link.efficiency
    for first in range(0, cluster.n_devices, size):
        devices = range(first, min(first + size, cluster.n_devices))
        if link.topology in ("torus-2d", "torus-3d"):
            if len(devices) < size:
                raise InputError(
                    f"{cluster.n_devices} devices do not fill tori of {size}",
                    where=f"cluster {cluster.name}",
                    fix="use a multiple, or set scale_up_domain_devices",
                )
            _add_torus(graph, first, torus_shape(cluster), rate, link.latency_s)
        elif link.topology == "mesh":
            for a, b in itertools.combinations(devices, 2):
                _link(
                    graph,
                    f"device-{a}",
                    f"device-{b}",
                    rate / (size - 1),
                    link.latency_s,
                    "scale-up",
                )
        elif size > 1:
            for device in devices:
                switch = f"domain-{first // size}"
                _link(graph, f"device-{device}", switch, rate, link.latency_s / 2, "scale-up")


def _add_torus(
    graph: Graph, first: int, shape: tuple[int, ...], rate: float, latency_s: float
) -> None:
    """Join every device to its neighbours in a torus; the last extent counts up first."""
    per_link = rate / (2 * sum(extent > 1 for extent in shape))
    for here in itertools.product(*(range(extent) for extent in shape)):
        for axis, extent in enumerate(shape):
            if extent == 1 or (extent == 2 and here[axis] == 1):
                continue
            there = (*here[:axis], (here[axis] + 1) % extent, *here[axis + 1 :])
            lanes = 2 if extent == 2 else 1  # both directions around lead to the same neighbour
            _link(
                graph,
                f"device-{first + _offset(here, shape)}",
                f"device-{first + _offset(there, shape)}",
                per_link * lanes,
                latency_s,
                "scale-up",
            )


def _offset(position: tuple[int, ...], shape: tuple[int, ...]) -> int:
    offset = 0
    for coordinate, extent in zip(position, shape, strict=True):
        offset = offset * extent + coordinate
    return offset


def _add_scale_out(graph: Graph, cluster: ClusterSpec) -> None:
    """Lead every device up: NIC, leaf, spine, then the pod's and the region's uplink.

    A link between two switches is as wide as the shares of all devices below it.
    """
    fabric, per_node = cluster.fabric, cluster.devices_per_node
    nic, wide = fabric.nic, fabric.wide_area
    port = nic.bandwidth_bytes_per_s * nic.efficiency
    pods, regions = cluster.pod_devices, cluster.region_devices
    for device in range(cluster.n_devices):
        node = device // per_node
        rail = cluster.nic_of(device)
        interface, name = f"nic-{node}-{rail}", f"device-{device}"
        pod, region = graph.nodes[name]["pod"], graph.nodes[name]["region"]
        leaf = f"leaf-{pod}-{rail if fabric.kind == 'rail-optimized' else 0}"
        _link(graph, name, interface, port * per_node / cluster.nics_of_node, 0.0, "nic")
        _widen(graph, interface, leaf, port, nic.latency_s / 2, "nic")
        _widen(graph, leaf, f"spine-{pod}", port, 0.0, "switch")
        top = f"spine-{pod}"
        if pods < regions:
            _widen(graph, top, f"core-{region}", port / fabric.oversubscription, 0.0, "switch")
            top = f"core-{region}"
        if fabric.n_regions > 1 and wide is not None:
            share = wide.bandwidth_bytes_per_s * wide.efficiency / regions
            _widen(graph, top, "wide-area", share, wide.latency_s / 2, "switch")


def _add_drawn(graph: Graph, cluster: ClusterSpec, drawn: FabricGraph) -> None:
    """Add a fabric as its user drew it.

    What a message costs its ends comes on top of the latency of the links.
    """
    nic, per_node = cluster.fabric.nic, cluster.devices_per_node
    hosts = [drawn.host_of(device, per_node) for device in range(cluster.n_devices)]
    ends_s = drawn.end_latency_s or 0.0
    for link in drawn.links:
        at_host = not {*link.ends}.isdisjoint(hosts)
        rate = link.bandwidth_bytes_per_s * nic.efficiency
        _link(graph, *link.ends, rate, link.latency_s, "nic" if at_host else "switch")
    neighbours = drawn.neighbours
    for device, host in enumerate(hosts):
        links = [graph[host][other] for other in neighbours[host]]
        if host == f"device-{device}":
            for each in links:
                each["latency_s"] += ends_s / 2
        else:
            access = sum(each["bandwidth_bytes_per_s"] for each in links)
            rate = access / cluster.nics_of_node
            _link(graph, f"device-{device}", host, rate, ends_s / 2, "nic")


def _widen(
    graph: Graph, end: str, other: str, bandwidth_bytes_per_s: float, latency_s: float, kind: str
) -> None:
    """Add bandwidth to a link, made where it is not there yet."""
    if graph.has_edge(end, other):
        graph[end][other]["bandwidth_bytes_per_s"] += bandwidth_bytes_per_s
    else:
        _link(graph, end, other, bandwidth_bytes_per_s, latency_s, kind)
