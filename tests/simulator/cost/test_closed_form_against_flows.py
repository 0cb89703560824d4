"""The closed form of a collective against its flows on the graph, with all groups at work at once.

They share no formula: the closed form knows levels and members, the graph links and routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from simulator.cost.collectives import all_gather_s, all_to_all_s, p2p_s
from simulator.cost.flow_factors import members_of
from simulator.cost.groups import AxisName, Group, axis_group
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.fabric import traffic
from simulator.fabric.flows import Routes
from simulator.fabric.topology import build_graph
from simulator.fabric.traffic import Members, Phase
from simulator.spec.cluster import ClusterSpec
from simulator.spec.links import LinkFault
from simulator.spec.plan import PlanSpec

ClusterMaker = Callable[..., ClusterSpec]
Traffic = Callable[[Routes, Sequence[Members], float], list[Phase]]
GIB = 2.0**30
WITHIN = 0.02

PODS = {"nodes_per_pod": 2, "oversubscription": 7.0}
WIDE = {"bandwidth_bytes_per_s": 20e9, "latency_s": 1e-3, "efficiency": 0.9}
SLOW_NIC = LinkFault(level="scale-out", device=3, remaining=0.5)
DEAD_NIC = LinkFault(level="scale-out", device=5, remaining=0.0)
CLUSTERS: dict[str, tuple[dict[str, object], PlanSpec]] = {
    "fat tree": ({"n_nodes": 4}, PlanSpec(dp_replicate=8, tp=4)),
    "one rank per node": ({"n_nodes": 4}, PlanSpec(dp_replicate=4, tp=8)),
    "all ranks": ({"n_nodes": 4}, PlanSpec(dp_replicate=32)),
    "rails": ({"n_nodes": 4, "kind": "rail-optimized"}, PlanSpec(dp_replicate=16, tp=2)),
    "shared interfaces": ({"n_nodes": 4, "nics_per_node": 2}, PlanSpec(dp_replicate=16, tp=2)),
    "pods": ({"n_nodes": 8, **PODS}, PlanSpec(pp=4, dp_replicate=8, tp=2)),
    "replicas over pods": ({"n_nodes": 8, **PODS}, PlanSpec(dp_replicate=32, tp=2)),
    "regions": (
        {"n_nodes": 4, "n_regions": 2, "wide_area": WIDE},
        PlanSpec(pp=2, dp_replicate=8, tp=2),
    ),
    "replicas over regions": (
        {"n_nodes": 4, "n_regions": 2, "wide_area": WIDE},
        PlanSpec(dp_replicate=16, tp=2),
    ),
    "domains over nodes": ({"n_nodes": 12, "per_node": 4, "domain": 24}, PlanSpec(dp_replicate=48)),
    "a slow interface": ({"n_nodes": 4, "faults": (SLOW_NIC,)}, PlanSpec(dp_replicate=16, tp=2)),
    "a slow and a dead interface": (
        {"n_nodes": 4, "kind": "rail-optimized", "faults": (SLOW_NIC, DEAD_NIC)},
        PlanSpec(dp_replicate=4, tp=8),
    ),
    "a dead interface": (
        {"n_nodes": 4, "faults": (DEAD_NIC,)},
        PlanSpec(pp=2, dp_replicate=8, tp=2),
    ),
    "a dead interface of two": (
        {"n_nodes": 4, "nics_per_node": 2, "faults": (DEAD_NIC,)},
        PlanSpec(dp_replicate=32),
    ),
    "a slow scale-up link": (
        {"n_nodes": 4, "faults": (LinkFault(level="scale-up", device=3, remaining=0.3),)},
        PlanSpec(dp_replicate=8, tp=4),
    ),
    "a slow uplink of a pod": (
        {"n_nodes": 8, **PODS, "faults": (LinkFault(level="pods", device=20, remaining=0.5),)},
        PlanSpec(dp_replicate=32, tp=2),
    ),
    "a slow link between regions": (
        {
            "n_nodes": 4,
            "n_regions": 2,
            "wide_area": WIDE,
            "faults": (LinkFault(level="regions", device=31, remaining=0.25),),
        },
        PlanSpec(dp_replicate=16, tp=2),
    ),
    "torus": (
        {"n_nodes": 16, "per_node": 4, "domain": 64, "scale_up": {"topology": "torus-3d"}},
        PlanSpec(pp=4, dp_replicate=4, tp=4),
    ),
}


PATTERNS: dict[str, tuple[Traffic, Callable[[float, Group], FloatArray]]] = {
    "ring": (traffic.ring_pass, all_gather_s),
    "hierarchical": (
        traffic.hierarchical_pass,
        lambda message, group: all_gather_s(message, replace(group, algorithm="hierarchical")),
    ),
    "all-to-all": (traffic.all_to_all, all_to_all_s),
    "p2p": (traffic.shift, p2p_s),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", CLUSTERS)
def test_closed_form_and_flows_agree(name: str, pattern: str, make_cluster: ClusterMaker) -> None:
    options, plan = CLUSTERS[name]
    cluster = make_cluster(**options)
    routes = Routes(build_graph(cluster))
    as_flows, closed_form = PATTERNS[pattern]
    axes: tuple[AxisName, ...] = ("tp", "dp", "pp")
    for axis in axes:
        group = axis_group(cluster, PlanTable.of([plan]), axis)
        if group.size[0] == 1 or (pattern == "p2p" and axis != "pp"):
            continue
        if pattern == "all-to-all" and group.size[0] > 64:
            continue
        flows_s = traffic.time_s(routes, as_flows(routes, members_of(cluster, plan, axis), GIB))
        assert closed_form(GIB, group)[0] == pytest.approx(flows_s, rel=WITHIN), axis


def test_a_full_mesh_gathers_by_sending_to_everyone(make_cluster: ClusterMaker) -> None:
    cluster = make_cluster(2, scale_up={"topology": "mesh"})
    routes = Routes(build_graph(cluster))
    for tp in (2, 4, 8):
        plan = PlanSpec(dp_replicate=16 // tp, tp=tp)
        group = axis_group(cluster, PlanTable.of([plan]), "tp")
        sent = traffic.all_to_all(routes, members_of(cluster, plan, "tp"), GIB)
        assert all_gather_s(GIB, group)[0] == pytest.approx(
            traffic.time_s(routes, sent), rel=WITHIN
        )


def test_emulated_nodes_of_two_ranks_behind_one_link(make_cluster: ClusterMaker) -> None:
    """Two nodes of two ranks, 200 Mbit/s between them, all-reduces of 1 MiB over gloo.

    Measured: two cross-node pairs at once 82.4 ms, one ring of four ranks 71.1 ms.
    """
    nic = {"bandwidth_bytes_per_s": 12.5e6, "latency_s": 0.0, "efficiency": 1.0}
    cluster = make_cluster(2, per_node=2, nics_per_node=1, nic=nic, scale_up={"latency_s": 0.0})
    routes = Routes(build_graph(cluster))
    pairs = [["device-0", "device-2"], ["device-1", "device-3"]]
    ring = [[f"device-{i}" for i in range(4)]]
    for members, plan, worked_s, measured_s in (
        (pairs, PlanSpec(dp_replicate=2, tp=2), 2 * 2**20 / 25e6, 82.4e-3),
        (ring, PlanSpec(dp_replicate=4), 1.5 * 2**20 / 25e6, 71.1e-3),
    ):
        flows_s = 2 * traffic.time_s(routes, traffic.ring_pass(routes, members, 2**20))
        group = axis_group(cluster, PlanTable.of([plan]), "dp")
        assert 2 * all_gather_s(2**20, group)[0] == pytest.approx(worked_s)
        assert flows_s == pytest.approx(worked_s)
        assert worked_s == pytest.approx(measured_s, rel=0.15)
