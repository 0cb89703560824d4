"""Fabrics drawn as graphs: read, refused, reduced to levels, and as flows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import networkx as nx
import pytest

from planner.search import search
from simulator.catalog.cluster import parse_cluster, read_cluster_file, write_cluster_file
from simulator.catalog.layouts.drawn import fabric_of_first
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.cost.flow_factors import flow_factors
from simulator.fabric.topology import build_graph
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec

Link = tuple[str, str, str]


def drawn(links: Iterable[Link]) -> str:
    rows = (
        f"  - {{ends: [{one}, {other}], bandwidth_bytes_per_s: {rate}, latency_s: 0.5 us}}\n"
        for one, other, rate in links
    )
    return "links:\n" + "".join(rows)


def leaf_and_spine(uplink: str) -> list[Link]:
    """Eight nodes under two leaves, which two spines join."""
    links = [(f"node-{node}", f"leaf-{node // 4}", "3200 Gb/s") for node in range(8)]
    return links + [
        (f"leaf-{leaf}", f"spine-{spine}", uplink) for leaf in range(2) for spine in range(2)
    ]


RAILS = [(f"device-{at}", f"rail-{at % 8}", "400 Gb/s") for at in range(32)] + [
    (f"rail-{rail}", "spine", "1600 Gb/s") for rail in range(8)
]
NARROW_CORE = [
    *((f"node-{node}", f"leaf-{node // 2}", "3200 Gb/s") for node in range(8)),
    *((f"leaf-{leaf}", f"row-{leaf // 2}", "6400 Gb/s") for leaf in range(4)),
    ("row-0", "row-1", "3200 Gb/s"),
]
SWITCHES_IN_A_ROW = [
    *((f"node-{node}", f"switch-{node}", "3200 Gb/s") for node in range(3)),
    ("switch-0", "switch-1", "800 Gb/s"),
    ("switch-1", "switch-2", "3200 Gb/s"),
]
TWO_PAIRS = [
    *((f"node-{node}", f"switch-{node // 2}", "3200 Gb/s") for node in range(3)),
    ("node-3", "lone", "3200 Gb/s"),
    ("lone", "switch-1", "800 Gb/s"),
    ("switch-0", "switch-1", "3200 Gb/s"),
]


def cluster_of(tmp_path: Path, text: str, name: str = "fabric.yaml") -> ClusterSpec:
    (tmp_path / name).write_text(text)
    return parse_cluster(f"h100-sxm@graph:{tmp_path / name}")


@pytest.mark.parametrize(
    ("links", "n_devices", "gigabits", "pods", "oversubscription", "latency_us"),
    [
        (leaf_and_spine("6400 Gb/s"), 64, 400, 0, 1.0, (6 * 1.0 + 2 * 2.0) / 8),
        (leaf_and_spine("3200 Gb/s"), 64, 400, 4, 2.0, (6 * 1.0 + 2 * 2.0) / 8),
        (RAILS, 32, 400, 0, 1.0, 1.0),
        (NARROW_CORE, 64, 400, 2, 4.0, (4 * 1.0 + 2 * 2.0 + 2 * 2.5) / 8),
        (SWITCHES_IN_A_ROW, 24, 400, 1, 4.0, (1.5 + 1.5 + 2.0) / 3),
    ],
    ids=["full bisection", "1:2", "rails", "a narrow core", "switches in a row"],
)
def test_a_graph_comes_down_to_levels(
    links: list[Link],
    n_devices: int,
    gigabits: float,
    pods: int,
    oversubscription: float,
    latency_us: float,
    tmp_path: Path,
) -> None:
    """By the least cuts; latencies of the ways between neighbours on top of 14 us at the ends."""
    cluster = cluster_of(tmp_path, drawn(links))
    fabric = cluster.fabric
    assert cluster.n_devices == n_devices
    assert fabric.nic.bandwidth_bytes_per_s == pytest.approx(gigabits * 1e9 / 8)
    assert fabric.nodes_per_pod == pods
    assert fabric.oversubscription == pytest.approx(oversubscription)
    assert fabric.nic.latency_s == pytest.approx(14e-6 + latency_us * 1e-6)


@pytest.mark.parametrize("uplink", ["6400 Gb/s", "3200 Gb/s"])
@pytest.mark.parametrize(
    "plan",
    [PlanSpec(dp_replicate=64), PlanSpec(pp=8, tp=8), PlanSpec(pp=2, dp_replicate=8, tp=4)],
    ids=PlanSpec.label,
)
def test_levels_and_flows_agree_on_a_regular_graph(
    uplink: str, plan: PlanSpec, tmp_path: Path
) -> None:
    cluster = cluster_of(tmp_path, drawn(leaf_and_spine(uplink)))
    assert flow_factors(cluster, plan) == pytest.approx(
        dict.fromkeys(flow_factors(cluster, plan), 1.0), rel=0.02
    )


def test_flows_see_that_only_one_link_is_narrow(tmp_path: Path) -> None:
    """Levels give all nodes what the tightest cut leaves; rings that cross it agree with that."""
    cluster = cluster_of(tmp_path, drawn(SWITCHES_IN_A_ROW))
    assert flow_factors(cluster, PlanSpec(pp=3, tp=8))["pp"] == pytest.approx(1.0, rel=0.02)
    pairs = cluster_of(tmp_path, drawn(TWO_PAIRS))
    factors = flow_factors(pairs, PlanSpec(pp=2, dp_replicate=2, tp=8))
    assert factors["dp"] == pytest.approx(1.0, rel=0.02)
    assert factors["pp"] < 1.02


def test_networkx_writes_what_is_read(tmp_path: Path) -> None:
    graph: nx.Graph[str] = nx.Graph()
    for one, other, rate in leaf_and_spine("3200 Gb/s"):
        graph.add_edge(one, other, bandwidth_bytes_per_s=rate, latency_s=5e-7)
    nx.write_graphml(graph, tmp_path / "fabric.graphml")
    node_link = json.dumps(nx.node_link_data(graph, edges="links"))
    expected = cluster_of(tmp_path, drawn(leaf_and_spine("3200 Gb/s"))).fabric
    for text in ((tmp_path / "fabric.graphml").read_text(), node_link):
        fabric = cluster_of(tmp_path, text, "other").fabric
        assert fabric.graph is not None
        assert expected.graph is not None
        assert {frozenset(link.ends) for link in fabric.graph.links} == {
            frozenset(link.ends) for link in expected.graph.links
        }
        assert fabric.model_copy(update={"graph": None}) == expected.model_copy(
            update={"graph": None}
        )


def test_a_cluster_file_keeps_its_graph(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, drawn(leaf_and_spine("3200 Gb/s")))
    write_cluster_file(tmp_path / "cluster.yaml", cluster)
    assert read_cluster_file(tmp_path / "cluster.yaml") == cluster


def test_a_plan_over_a_graph(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text(drawn(RAILS))
    scenario = scenario_from_flags(
        model="llama3-8b",
        cluster=f"h100-sxm@graph:{tmp_path / 'fabric.yaml'}",
        overrides=["cluster.link_model=flows"],
    )
    assert search(scenario).best.plan.n_ranks == 32


ONE = "{ends: [node-0, a], bandwidth_bytes_per_s: 1 GB/s}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("links: []", "without links"),
        ("links:\n  - {ends: [node-0, a], bandwidth_bytes_per_s: -1}", "greater than 0, not -1"),
        ("links:\n  - {ends: [node-0, a]}", "bandwidth_bytes_per_s: is missing"),
        ("links:\n  - {ends: [a, a], bandwidth_bytes_per_s: 1 GB/s}", "joins a to itself"),
        (f"links:\n  - {ONE}\n  - {ONE}", r"links\[1\]: a second link"),
        ("links:\n  - {ends: [b, a], bandwidth_bytes_per_s: 1 GB/s}", "node-0, node-1"),
        (
            f"links:\n  - {ONE}\n  - {{ends: [node-2, a], bandwidth_bytes_per_s: 1 GB/s}}",
            "no link leads to node-1",
        ),
        (
            f"links:\n  - {ONE}\n  - {{ends: [node-1, b], bandwidth_bytes_per_s: 1 GB/s}}",
            "not connected: no way leads from node-0 to b",
        ),
        (
            f"links:\n  - {ONE}\n  - {{ends: [device-0, a], bandwidth_bytes_per_s: 1 GB/s}}",
            "name both",
        ),
        (
            '{"links": [{"source": "node-0", "target": "x", "bandwidth_bytes_per_s": 0}]}',
            "link node-0 -- x: .*greater than 0",
        ),
        ('{"nodes": []}', "no list of links"),
        ('{"directed": true, "links": []}', "directed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><graphml/>', "document type"),
        ("<graphml>", "not valid GraphML"),
    ],
)
def test_mistakes_in_a_graph_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        cluster_of(tmp_path, text, "bad")
    assert "bad" in f"{caught.value} {caught.value.where}"


def test_faults_of_a_drawn_fabric_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text(drawn(leaf_and_spine("3200 Gb/s")))
    text = (
        f"device: h100-sxm\nlayout: graph:{tmp_path / 'fabric.yaml'}\n"
        "link_faults: [{level: scale-out, device: 3, remaining: 0.5}]\n"
    )
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(InputError, match="take the bandwidth from the link in its file"):
        read_cluster_file(tmp_path / "cluster.yaml")


def test_a_count_that_is_not_the_graph_s(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text(drawn(RAILS))
    with pytest.raises(InputError, match="joins 32 devices, and the cluster has 64"):
        parse_cluster(f"h100-sxm:64@graph:{tmp_path / 'fabric.yaml'}")


def test_the_first_nodes_of_a_graph(tmp_path: Path) -> None:
    """All switches stay, and the links of the other hosts go."""
    graph = cluster_of(tmp_path, drawn(leaf_and_spine("3200 Gb/s"))).fabric.graph
    assert graph is not None
    assert graph.of_first(4).n_hosts == 4
    assert len(graph.of_first(4).links) == len(graph.links) - 4
    assert graph.of_first(8) == graph
    with pytest.raises(InputError, match="joins 8 nodes, and 9 are wanted"):
        graph.of_first(9)


def test_nodes_that_only_others_join_are_no_cluster(tmp_path: Path) -> None:
    star = [("node-0", "node-2", "1 GB/s"), ("node-1", "node-2", "1 GB/s")]
    graph = cluster_of(tmp_path, drawn(star)).fabric.graph
    assert graph is not None
    with pytest.raises(InputError, match="does not join its first 2 nodes without the others"):
        graph.of_first(2)


@pytest.mark.parametrize(
    ("nodes", "pods", "latency_us"), [(8, 4, 1.25), (6, 4, (4 * 1 + 2 * 2) / 6), (4, 0, 1.0)]
)
def test_fewer_nodes_have_levels_of_their_own(
    nodes: int, pods: int, latency_us: float, tmp_path: Path
) -> None:
    """And the same 14 us at the ends of a message, in levels and in the graph."""
    write_cluster_file(
        tmp_path / "all.yaml", cluster_of(tmp_path, drawn(leaf_and_spine("3200 Gb/s")))
    )
    text = (tmp_path / "all.yaml").read_text()
    (tmp_path / "fewer.yaml").write_text(f"{text}\nnodes: {nodes}\n")
    cluster = read_cluster_file(tmp_path / "fewer.yaml")
    fabric = cluster.fabric
    assert fabric.graph is not None
    assert (cluster.n_nodes, fabric.graph.n_hosts) == (nodes, nodes)
    assert fabric.nodes_per_pod == pods
    assert fabric.nic.latency_s == pytest.approx(14e-6 + latency_us * 1e-6)
    links = build_graph(cluster)
    assert links["device-0"]["node-0"]["latency_s"] == pytest.approx(7e-6)


def test_more_nodes_than_a_graph_joins(tmp_path: Path) -> None:
    write_cluster_file(tmp_path / "all.yaml", cluster_of(tmp_path, drawn(RAILS)))
    text = (tmp_path / "all.yaml").read_text()
    (tmp_path / "more.yaml").write_text(f"{text}\nnodes: 8\n")
    with pytest.raises(InputError, match="joins 32 devices, and 64 are wanted"):
        read_cluster_file(tmp_path / "more.yaml")


def test_a_fabric_by_name_takes_the_place_of_a_graph(tmp_path: Path) -> None:
    (tmp_path / "fabric.yaml").write_text(drawn(leaf_and_spine("3200 Gb/s")))
    scenario = scenario_from_flags(
        model="llama3-8b",
        cluster=f"h100-sxm@graph:{tmp_path / 'fabric.yaml'}",
        overrides=["cluster.fabric=ethernet-100g"],
    )
    named = scenario_from_flags(
        model="llama3-8b", cluster="h100-sxm:64", overrides=["cluster.fabric=ethernet-100g"]
    )
    assert scenario.cluster == named.cluster


def test_the_ends_of_a_message_can_be_given(tmp_path: Path) -> None:
    text = "end_latency_s: 4 us\n" + drawn(RAILS)
    assert cluster_of(tmp_path, text).fabric.nic.latency_s == pytest.approx(5e-6)


def test_a_part_of_a_drawn_fabric(tmp_path: Path) -> None:
    """Asked for by `cluster.nodes`, or cut out of the whole one."""
    whole = cluster_of(tmp_path, drawn(leaf_and_spine("3200 Gb/s")))
    part = scenario_from_flags(
        model="llama3-8b",
        cluster=f"h100-sxm@graph:{tmp_path / 'fabric.yaml'}",
        overrides=["cluster.nodes=4"],
    ).cluster
    assert (part.n_devices, part.fabric.nodes_per_pod) == (32, 0)
    assert part.fabric == fabric_of_first(whole.fabric, 4, 8)
