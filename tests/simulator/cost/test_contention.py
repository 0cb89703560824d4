"""Exchanges that meet data-parallel traffic on the same links, against flows on the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.cost.contention import SharedLinks, link_contention
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.step_costs import LayerTime
from simulator.fabric import traffic
from simulator.fabric.flows import Routes, finish_times_s
from simulator.fabric.topology import build_graph
from simulator.fabric.traffic import Phase
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec

ClusterMaker = Callable[..., ClusterSpec]
GIB = 2.0**30


def shared(cluster: ClusterSpec, **plan: int) -> SharedLinks:
    table = PlanTable.of([PlanSpec.model_validate(plan)])
    software = find_software("default")
    model = find_model("mixtral-8x7b")
    return SharedLinks.of(Setting.of(model, cluster, JobSpec(), software, table))


def contention(links: SharedLinks, *, compute_s: float, ep_s: float, p2p_s: float = 0.0) -> float:
    backward = LayerTime(
        compute_s=np.array([compute_s]),
        tp_s=np.array([0.0]),
        cp_s=np.array([0.0]),
        ep_s=np.array([ep_s]),
    )
    table = PlanTable.of([PlanSpec(pp=2)])
    return float(link_contention(links, backward, np.array([p2p_s]), 64, table)[0])


def test_only_exchanges_that_leave_the_domain_meet_it(make_cluster: ClusterMaker) -> None:
    """Context parallelism stays in the node; experts over two nodes and stages do not."""
    links = shared(make_cluster(8), pp=2, dp_replicate=4, cp=2, tp=4, ep=16)
    assert [bool(each[0]) for each in (links.cp, links.ep, links.pp)] == [False, True, True]
    alone = shared(make_cluster(1), dp_replicate=8, ep=8)
    assert not alone.ep[0]


def test_an_exchange_of_a_fifth_of_the_pass_slows_it_by_a_fifth_of_the_hidden_time(
    make_cluster: ClusterMaker,
) -> None:
    links = shared(make_cluster(8), pp=2, dp_replicate=4, tp=8, ep=16)
    assert contention(links, compute_s=8e-3, ep_s=2e-3) == pytest.approx(0.2)
    # One transfer of 4 ms, 2 ms of it bytes on the link, per 32 layers of 10 ms.
    with_p2p = contention(links, compute_s=8e-3, ep_s=2e-3, p2p_s=4e-3)
    assert with_p2p == pytest.approx((2e-3 + 2e-3 / 32) / (10e-3 + 2e-3 / 32))


def together_s(routes: Routes, phases: Sequence[Phase]) -> list[float]:
    """Time of each of some phases that start together and share the links, in s."""
    flows = [flow for phase in phases for flow in phase.flows]
    finish_s = finish_times_s(routes, flows)
    times, first = [], 0
    for phase in phases:
        own_s = finish_s[first : first + len(phase.flows)]
        times.append(float(own_s.max(initial=0.0)) + phase.latency_s)
        first += len(phase.flows)
    return times


def shift_and_ring(cluster: ClusterSpec, sent: float) -> tuple[list[float], list[float]]:
    """Times of a transfer to the next stage and of a data-parallel ring, alone and together.

    Two stages of two nodes; every device is in a ring with its like in the other node.
    """
    routes = Routes(build_graph(cluster))
    rings = [[f"device-{s * 16 + i}", f"device-{s * 16 + i + 8}"] for s in (0, 1) for i in range(8)]
    stages = [[f"device-{i}", f"device-{i + 16}"] for i in range(16)]
    phases = [
        *traffic.shift(routes, stages, sent),
        *traffic.ring_pass(routes, rings, 8 * GIB),
    ]
    return [traffic.time_s(routes, [phase]) for phase in phases], together_s(routes, phases)


@pytest.mark.parametrize("sent", [0.5 * GIB, GIB, 2 * GIB])
def test_a_transfer_takes_half_of_the_link_from_a_collective(
    sent: float, make_cluster: ClusterMaker
) -> None:
    """Max-min fair: the transfer takes twice as long, and delays the ring by its own time."""
    alone, together = shift_and_ring(make_cluster(4), sent)
    assert together[0] == pytest.approx(2 * alone[0], rel=1e-3)
    assert together[1] == pytest.approx(alone[0] + alone[1], rel=1e-3)


def test_a_pass_grows_by_the_share_that_meets_hidden_traffic(make_cluster: ClusterMaker) -> None:
    """A pass of compute, exchange, compute ... beside a collective that runs all the time.

    The flows say how much longer the exchanges take; the contention says the same of the pass.
    """
    cluster = make_cluster(8)
    links = shared(cluster, pp=2, dp_replicate=4, tp=8, ep=16)
    alone, together = shift_and_ring(make_cluster(4), GIB)
    compute_s = 3 * alone[0]
    hidden_s = compute_s + alone[0]  # as long as the pass would take alone
    share = contention(links, compute_s=compute_s, ep_s=alone[0])
    assert share * hidden_s == pytest.approx(together[0] - alone[0], rel=1e-3)
