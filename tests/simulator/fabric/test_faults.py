from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.fabric import traffic
from simulator.fabric.faults import LinkFault, with_faults
from simulator.fabric.flows import Routes
from simulator.fabric.topology import build_graph, devices_of
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError

ClusterMaker = Callable[..., ClusterSpec]
TIB = 2.0**40


def gather_s(cluster: ClusterSpec, *faults: LinkFault) -> float:
    routes = Routes(with_faults(build_graph(cluster), faults))
    group = devices_of(routes.graph)
    return traffic.time_s(routes, traffic.ring_pass(routes, [group], TIB))


def test_a_lost_nic_sends_its_traffic_through_its_neighbours(make_cluster: ClusterMaker) -> None:
    """One of 8 NICs of a node is gone; its ring spreads over the 7 that are left."""
    cluster = make_cluster(4, kind="rail-optimized")
    lost = gather_s(cluster, LinkFault("device-3", "nic-0-3"))
    assert lost == pytest.approx(8 / 7 * gather_s(cluster), rel=1e-3)


def test_a_link_at_half_its_rate_halves_the_rings_through_it(make_cluster: ClusterMaker) -> None:
    cluster = make_cluster(4)
    slow = gather_s(cluster, LinkFault("nic-0-3", "leaf-0-0", remaining=0.5))
    assert slow == pytest.approx(2 * gather_s(cluster), rel=1e-3)


def test_a_slow_link_that_has_room_to_spare_costs_nothing(make_cluster: ClusterMaker) -> None:
    """8 rings of 10 GB/s put 70 GB/s through a device's scale-up link of 100."""
    cluster = make_cluster(4)
    nvlink = LinkFault("device-3", "domain-0", remaining=0.71)
    assert gather_s(cluster, nvlink) == pytest.approx(gather_s(cluster))
    nvlink = LinkFault("device-3", "domain-0", remaining=0.35)
    assert gather_s(cluster, nvlink) == pytest.approx(2 * gather_s(cluster), rel=1e-3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (LinkFault("device-99", "nic-0-0"), "device-99 -- nic-0-0: unknown device or switch"),
        (LinkFault("device-0", "nic-0-1"), "no such link; device-0 is joined to domain-0, nic-0-0"),
        (LinkFault("device-0", "nic-0-0", remaining=-0.5), "remaining=-0.5 of its bandwidth"),
        (LinkFault("device-0", "nic-0-0", remaining=1.5), "use 0 to below 1"),
    ],
)
def test_a_fault_names_its_place(
    fault: LinkFault, message: str, make_cluster: ClusterMaker
) -> None:
    with pytest.raises(InputError, match=message):
        with_faults(build_graph(make_cluster(2)), [fault])


def test_a_device_that_is_cut_off_is_an_error(make_cluster: ClusterMaker) -> None:
    faults = [LinkFault("device-1", "domain-0"), LinkFault("device-1", "nic-0-1")]
    with pytest.raises(InputError, match="device-1 reaches only 0 of"):
        with_faults(build_graph(make_cluster(2)), faults)


def test_the_graph_itself_stays_whole(make_cluster: ClusterMaker) -> None:
    graph = build_graph(make_cluster(2))
    with_faults(graph, [LinkFault("device-0", "nic-0-0")])
    assert graph.has_edge("device-0", "nic-0-0")
