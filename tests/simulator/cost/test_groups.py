from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog import find_software
from simulator.catalog.scenario_file import load_scenario
from simulator.cost.groups import AxisName, Group, axis_group
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.cost.step_costs import StepCosts
from simulator.spec.cluster import ClusterSpec, LinkSpec
from simulator.spec.plan import PlanSpec

ClusterMaker = Callable[..., ClusterSpec]


def group(machine: ClusterSpec, axis: AxisName, **plan: int) -> Group:
    return axis_group(machine, PlanTable.of([PlanSpec.model_validate(plan)]), axis)


def fan_outs(group: Group) -> list[int]:
    return [int(level.fan_out[0]) for level in group.levels]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("tp", [4, 1]),
        ("cp", [2, 1]),
        ("dp_shard", [1, 4]),
        ("dp_replicate", [1, 2]),
        ("dp_shard_cp", [2, 4]),
        ("dp", [2, 8]),
        ("pp", [1, 2]),
        ("ep", [8, 2]),
        ("expert_dp", [1, 4]),
    ],
)
def test_which_links_an_axis_crosses(
    axis: AxisName, expected: list[int], make_cluster: ClusterMaker
) -> None:
    plan = {"pp": 2, "dp_replicate": 2, "dp_shard": 4, "cp": 2, "tp": 4, "ep": 16, "zero_stage": 1}
    assert fan_outs(group(make_cluster(16), axis, **plan)) == expected


def test_experts_that_are_not_spread_have_the_copies_of_all_weights(
    make_cluster: ClusterMaker,
) -> None:
    plan = {"pp": 2, "dp_replicate": 8, "cp": 2, "tp": 4, "ep": 1}
    machine = make_cluster(16)
    assert fan_outs(group(machine, "expert_dp", **plan)) == [2, 8]
    assert fan_outs(group(machine, "dp", **plan)) == [2, 8]


def test_pure_sharding_fills_the_node_and_tensor_parallelism_leaves_one_member_in_it(
    make_cluster: ClusterMaker,
) -> None:
    machine = make_cluster(16)
    assert group(machine, "dp_shard", dp_shard=128, zero_stage=3).in_domain == 8
    tp8 = group(machine, "dp_shard", dp_shard=16, tp=8, zero_stage=3)
    assert (tp8.in_domain[0], tp8.n_domains[0]) == (1, 16)


def test_a_job_uses_64_of_the_72_devices_of_a_rack(make_cluster: ClusterMaker) -> None:
    racks = make_cluster(64, domain=72, per_node=4)
    assert fan_outs(group(racks, "dp_replicate", dp_replicate=256)) == [64, 4]
    assert fan_outs(group(racks, "dp_replicate", dp_replicate=32, tp=8)) == [8, 4]
    assert fan_outs(group(make_cluster(144, domain=72, per_node=4), "tp", tp=576)) == [72, 8]


def test_a_group_that_straddles_domains_is_cut_into_aligned_pieces(
    make_cluster: ClusterMaker,
) -> None:
    assert fan_outs(group(make_cluster(3), "tp", tp=6, dp_replicate=4)) == [2, 3]


def test_pods_and_regions_are_levels_whose_uplink_is_shared(make_cluster: ClusterMaker) -> None:
    wide = LinkSpec(bandwidth_bytes_per_s=100e9, latency_s=5e-3, efficiency=0.9)
    machine = make_cluster(64, nodes_per_pod=8, oversubscription=4.0, n_regions=2, wide_area=wide)
    levels = group(machine, "dp_replicate", dp_replicate=512).levels
    assert [level.name for level in levels] == ["scale-up", "scale-out", "pods", "regions"]
    assert [int(level.fan_out[0]) for level in levels] == [8, 8, 4, 2]
    rates = [level.bandwidth_bytes_per_s for level in levels]
    assert rates == pytest.approx([100e9, 10e9, 2.5e9, 90e9 / 256])


def test_without_a_fabric_everything_is_one_domain(make_cluster: ClusterMaker) -> None:
    machine = make_cluster(1, domain=4, kind="none")
    assert fan_outs(group(machine, "dp_replicate", dp_replicate=8)) == [8]


degrees = st.sampled_from([1, 2, 3, 4, 6, 8])


@given(pp=degrees, dp_replicate=degrees, cp=degrees, tp=degrees, pod=st.integers(0, 8))
def test_fan_outs_multiply_to_the_size(
    pp: int, dp_replicate: int, cp: int, tp: int, pod: int, make_cluster: ClusterMaker
) -> None:
    plan = PlanSpec(pp=pp, dp_replicate=dp_replicate, cp=cp, tp=tp)
    machine = make_cluster(-(-plan.n_ranks // 8), nodes_per_pod=pod)
    for axis in ("pp", "dp", "cp", "tp"):
        result = axis_group(machine, PlanTable.of([plan]), axis)
        product = np.prod([level.fan_out for level in result.levels], axis=0)
        assert product.tolist() == result.size.tolist()


def test_pipelines_stay_inside_a_region(make_cluster: ClusterMaker) -> None:
    machine = make_cluster(16)
    fabric = machine.fabric.model_copy(update={"n_regions": 2, "wide_area": machine.fabric.nic})
    regions = machine.model_copy(update={"fabric": fabric})
    plan = {"pp": 4, "dp_replicate": 4, "tp": 8}
    assert fan_outs(group(regions, "pp", **plan)) == [1, 4, 1]
    assert fan_outs(group(regions, "dp_replicate", **plan)) == [1, 2, 2]
    sharded = {"pp": 4, "dp_replicate": 2, "dp_shard": 2, "tp": 8, "zero_stage": 1}
    assert fan_outs(group(regions, "dp", **sharded)) == [1, 2, 2]
    assert fan_outs(group(regions, "dp_shard", **sharded)) == [1, 2, 1]
    experts = sharded | {"ep": 4}
    assert fan_outs(group(regions, "expert_dp", **experts)) == [2, 2, 2]
    assert fan_outs(group(regions, "expert_dp", **sharded)) == [1, 2, 2]


def test_where_copies_lie_counts_for_the_transfers_of_their_stages() -> None:
    scenario = load_scenario("scenarios/a-million-devices.yaml")
    plans = [
        PlanSpec(pp=36, tp=8, zero_stage=1, n_microbatches=32, dp_replicate=n, dp_shard=3600 // n)
        for n in (8, 400, 36)
    ]
    software = find_software(scenario.job.software)

    def price(some: list[PlanSpec]) -> StepCosts:
        table = PlanTable.of(some)
        return price_step(scenario.model, scenario.cluster, scenario.job, software, table)

    alone = [price([plan]).p2p_s[0] for plan in plans]
    assert price(plans).p2p_s == pytest.approx(alone)
