from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import pytest

from simulator.fabric.topology import build_graph, check_graph
from simulator.spec.cluster import ClusterSpec, LinkSpec
from simulator.spec.errors import InputError

ClusterMaker = Callable[..., ClusterSpec]


def width(graph: nx.Graph[str], end: str, other: str) -> float:
    return float(graph[end][other]["bandwidth_bytes_per_s"])


def test_devices_keep_their_rank_order(make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(2))
    devices = [name for name in graph if name.startswith("device-")]
    assert devices == [f"device-{i}" for i in range(16)]


def test_equal_positions_of_all_nodes_share_a_rail(make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(4, kind="rail-optimized"))
    assert set(graph["leaf-0-3"]) == {"nic-0-3", "nic-1-3", "nic-2-3", "nic-3-3", "spine-0"}
    assert width(graph, "leaf-0-3", "spine-0") == pytest.approx(4 * 10e9)


def test_two_devices_of_a_node_can_share_a_network_interface(make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(2, nics_per_node=4))
    assert set(graph["nic-0-0"]) == {"device-0", "device-1", "leaf-0-0"}
    assert width(graph, "nic-0-0", "leaf-0-0") == pytest.approx(2 * 10e9)


def test_pods_and_regions_have_narrower_uplinks(make_cluster: ClusterMaker) -> None:
    wide = LinkSpec(bandwidth_bytes_per_s=100e9, latency_s=5e-3, efficiency=0.9)
    graph = build_graph(
        make_cluster(8, nodes_per_pod=2, oversubscription=4.0, n_regions=2, wide_area=wide)
    )
    assert width(graph, "spine-3", "core-1") == pytest.approx(16 * 10e9 / 4)
    assert width(graph, "core-0", "wide-area") == pytest.approx(90e9)


def test_a_graph_is_for_looking_closely(make_cluster: ClusterMaker) -> None:
    with pytest.raises(InputError, match="16384 devices, more than 4096; take a part of it"):
        build_graph(make_cluster(2048))


def test_a_torus_must_be_filled(make_cluster: ClusterMaker) -> None:
    cluster = make_cluster(5, domain=32, scale_up={"topology": "torus-2d"})
    with pytest.raises(InputError, match="40 devices do not fill tori of 32; use a multiple"):
        build_graph(cluster)


def test_a_fabric_in_parts_is_refused(make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(2, per_node=1))
    graph.remove_edge("nic-1-0", "leaf-0-0")
    with pytest.raises(InputError, match="in 2 parts; device-1 reaches only 1 of"):
        check_graph(graph)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_link_must_carry_something(rate: float, make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(2))
    graph["device-0"]["domain-0"]["bandwidth_bytes_per_s"] = rate
    with pytest.raises(InputError, match=r"link device-0 -- domain-0: bandwidth is"):
        check_graph(graph)
