"""Exchanges of one plan as flows over the graph, against the closed form that prices the search."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.catalog.scenario_file import load_scenario
from simulator.cost.flow_factors import flow_factors, members_of
from simulator.spec.cluster import ClusterSpec, CollectiveFit
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.step.predict import predict_step

ClusterMaker = Callable[..., ClusterSpec]
SCENARIO = "scenarios/llama3-70b-on-64-h100.yaml"


def test_ranks_of_a_group_are_a_stride_apart(make_cluster: ClusterMaker) -> None:
    plan = PlanSpec(pp=2, dp_replicate=2, tp=2)
    assert members_of(make_cluster(1), plan, "dp") == [
        ["device-0", "device-2"],
        ["device-1", "device-3"],
        ["device-4", "device-6"],
        ["device-5", "device-7"],
    ]


@pytest.mark.parametrize(
    ("fabric", "plan"),
    [
        ({}, PlanSpec(pp=2, dp_replicate=4, tp=8)),
        ({"kind": "rail-optimized"}, PlanSpec(dp_shard=16, cp=2, tp=2, zero_stage=1)),
        ({"nodes_per_pod": 4, "oversubscription": 4.0}, PlanSpec(dp_shard=64, ep=64, zero_stage=3)),
    ],
)
def test_on_regular_fabrics_the_closed_form_is_the_flows(
    fabric: dict[str, object], plan: PlanSpec, make_cluster: ClusterMaker
) -> None:
    factors = flow_factors(make_cluster(8, **fabric), plan, mixture=True)
    assert {"tp", "cp", "ep", "dp", "pp"} & factors.keys()
    for axis, factor in factors.items():
        assert factor == pytest.approx(1.0, abs=0.02), axis


def test_pairs_of_126_ranks_stay_in_their_nodes_of_8(make_cluster: ClusterMaker) -> None:
    """Rank i on device i. The closed form fills nodes equally, 7 ranks each, so that pairs are torn
    apart: NICs of 10 GB/s in place of 100 GB/s of NVLink."""
    factors = flow_factors(make_cluster(16), PlanSpec(pp=9, dp_replicate=7, tp=2))
    assert factors["tp"] == pytest.approx(0.1, rel=0.02)


def test_measured_collectives_are_not_held_against_flows(make_cluster: ClusterMaker) -> None:
    slow = CollectiveFit(operation="all-gather", n_ranks=8, alpha_s=1.0, bandwidth_bytes_per_s=1e6)
    factors = flow_factors(make_cluster(1, measured=(slow,)), PlanSpec(tp=8))
    assert factors["tp"] == pytest.approx(1.0, abs=0.02)


def test_a_scenario_can_ask_for_flows() -> None:
    plan = PlanSpec(dp_replicate=2, tp=8, pp=4, n_microbatches=512, recompute="full")
    by_level, by_flows = (
        predict_step(load_scenario(SCENARIO, overrides=[f"cluster.link_model={model}"]), plan)
        for model in ("levels", "flows")
    )
    assert by_flows.step_s == pytest.approx(by_level.step_s, rel=1e-3)
    assert "links as flows over the graph; times the closed form: tp 1" in " ".join(
        by_flows.assumptions
    )


def test_slower_flows_slow_the_step() -> None:
    """Tensor parallelism over 6 of 48 ranks lines up with no node."""
    plan = PlanSpec(dp_replicate=7, tp=6, n_microbatches=32)
    overrides = ["cluster.devices=48"]
    by_level, by_flows = (
        predict_step(
            load_scenario(SCENARIO, overrides=[*overrides, f"cluster.link_model={model}"]), plan
        )
        for model in ("levels", "flows")
    )
    assert by_flows.breakdown.tp_s != pytest.approx(by_level.breakdown.tp_s, rel=0.05)


@pytest.mark.parametrize(
    ("n_nodes", "scale_up", "message"),
    [
        (128, {}, "flows over 1024 devices, more than 512; use levels"),
        (2, {"topology": "mesh"}, "flows over a mesh; use levels"),
    ],
)
def test_flows_have_their_limits(
    n_nodes: int, scale_up: dict[str, object], message: str, make_cluster: ClusterMaker
) -> None:
    with pytest.raises(InputError, match=message):
        flow_factors(make_cluster(n_nodes, scale_up=scale_up), PlanSpec(tp=8))
