from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from simulator.fabric.flows import Flow, Routes, finish_times_s, max_min_rates
from simulator.fabric.topology import build_graph
from simulator.spec.cluster import ClusterSpec

ClusterMaker = Callable[..., ClusterSpec]


def chain(*widths: float) -> nx.Graph[str]:
    """Devices in a row, joined by links of the given bandwidths."""
    graph: nx.Graph[str] = nx.Graph()
    for index, width in enumerate(widths):
        graph.add_edge(
            f"device-{index}",
            f"device-{index + 1}",
            bandwidth_bytes_per_s=width,
            latency_s=1e-6,
            cost=1,
        )
    return graph


def test_a_flow_held_up_elsewhere_leaves_its_part_to_the_others() -> None:
    """Links of 10, 4 and 10: three flows over the first, one of them also over the second."""
    usage = sparse.csr_matrix(np.array([[1.0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 1]]))
    rates = max_min_rates(usage, np.array([10.0, 4.0, 10.0]))
    assert rates == pytest.approx([2.0, 4.0, 4.0, 2.0])


def test_two_pairs_that_share_a_link_take_twice_as_long() -> None:
    """Measured on an emulated 200 Mbit/s link between two nodes of two ranks: two all-reduces of
    1 MiB at once take 82.4 ms; the fair share of the line rate says 83.9 ms."""
    link = 25e6
    routes = Routes(chain(10e9, link, 10e9))
    routes.graph.add_edge("device-0", "device-4", bandwidth_bytes_per_s=10e9, latency_s=0.0, cost=1)
    flows = [Flow("device-0", "device-2", 2**20), Flow("device-1", "device-3", 2**20)]
    assert finish_times_s(routes, flows) == pytest.approx(2 * 2**20 / link)
    assert finish_times_s(routes, flows)[0] == pytest.approx(82.4e-3, rel=0.02)


def test_directions_do_not_share() -> None:
    flows = [Flow("device-0", "device-1", 10.0), Flow("device-1", "device-0", 10.0)]
    assert finish_times_s(Routes(chain(5.0)), flows) == pytest.approx([2.0, 2.0])


def test_what_a_finished_flow_leaves_speeds_up_the_rest() -> None:
    """10 and 30 bytes over one link of 10 bytes/s: the second is alone after 2 s."""
    flows = [Flow("device-0", "device-1", 10.0), Flow("device-0", "device-1", 30.0)]
    assert finish_times_s(Routes(chain(10.0)), flows) == pytest.approx([2.0, 4.0])


def test_no_bytes_are_done_at_once() -> None:
    flows = [Flow("device-0", "device-1", 0.0), Flow("device-0", "device-1", 30.0)]
    assert finish_times_s(Routes(chain(10.0)), flows) == pytest.approx([0.0, 3.0])


def test_a_message_changes_rails_inside_the_node(make_cluster: ClusterMaker) -> None:
    routes = Routes(build_graph(make_cluster(2, kind="rail-optimized")))
    straight = routes.shares("device-0", "device-8")
    assert list(straight) == [
        ("device-0", "nic-0-0"),
        ("nic-0-0", "leaf-0-0"),
        ("leaf-0-0", "nic-1-0"),
        ("nic-1-0", "device-8"),
    ]
    across = routes.shares("device-0", "device-11")
    assert not [hop for hop in across if "spine-0" in hop]
    assert across["leaf-0-0", "nic-1-0"] == across["leaf-0-3", "nic-1-3"] == 0.5


def test_latency_of_a_route(make_cluster: ClusterMaker) -> None:
    routes = Routes(build_graph(make_cluster(2)))
    assert routes.latency_s("device-0", "device-1") == pytest.approx(1e-6)
    assert routes.latency_s("device-0", "device-9") == pytest.approx(10e-6)


usages = st.integers(1, 6).flatmap(
    lambda n_flows: st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n_flows, max_size=n_flows),
        min_size=1,
        max_size=6,
    )
)


@given(usage=usages, data=st.data())
def test_rates_are_feasible_and_max_min_fair(usage: list[list[float]], data: st.DataObject) -> None:
    """No link is overfull, and every flow is stopped by a full link on which none is faster."""
    # Every flow uses some link: the last one, if no other.
    shares = np.array([*usage, [1.0] * len(usage[0])])
    widths = st.floats(1.0, 100.0)
    capacity = np.array(data.draw(st.lists(widths, min_size=len(shares), max_size=len(shares))))
    rates = max_min_rates(sparse.csr_matrix(shares), capacity)
    carried = shares @ rates
    assert (carried <= capacity * (1 + 1e-6)).all()
    full = carried >= capacity * (1 - 1e-6)
    for flow, rate in enumerate(rates):
        stops = full & (shares[:, flow] > 0)
        fastest = [rates[shares[link] > 0].max() for link in np.flatnonzero(stops)]
        assert any(rate >= other * (1 - 1e-6) for other in fastest)


sizes = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=5)


@given(sizes=sizes, more=st.floats(1.0, 10.0))
def test_bytes_take_their_time(sizes: list[float], more: float) -> None:
    """The shared link is busy until all bytes are through, and more bytes never arrive earlier."""
    routes = Routes(chain(7.0))
    flows = [Flow("device-0", "device-1", size) for size in sizes]
    done = finish_times_s(routes, flows)
    assert done.max() == pytest.approx(sum(sizes) / 7.0)
    longer = [Flow("device-0", "device-1", size * more) for size in sizes]
    assert (finish_times_s(routes, longer) >= done * (1 - 1e-9)).all()


@pytest.mark.parametrize("target", ["device-1", "device-5", "device-13", "device-21"])
def test_what_leaves_the_source_arrives(target: str, make_cluster: ClusterMaker) -> None:
    cluster = make_cluster(8, per_node=4, domain=32, scale_up={"topology": "torus-3d"})
    hops = Routes(build_graph(cluster)).shares("device-0", target)
    balance: dict[str, float] = {}
    for (end, other), share in hops.items():
        balance[end] = balance.get(end, 0.0) - share
        balance[other] = balance.get(other, 0.0) + share
    assert balance.pop("device-0") == pytest.approx(-1.0)
    assert balance.pop(target) == pytest.approx(1.0)
    assert all(rest == pytest.approx(0.0) for rest in balance.values())
