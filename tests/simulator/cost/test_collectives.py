from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog.cluster import parse_cluster
from simulator.cost.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    p2p_s,
    reduce_scatter_s,
)
from simulator.cost.groups import Group, axis_group
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.cluster import ClusterSpec, CollectiveFit, LinkSpec
from simulator.spec.links import AlgorithmName
from simulator.spec.plan import PlanSpec

ClusterMaker = Callable[..., ClusterSpec]
GIB = 2.0**30

# The links of `make_cluster`: rate per device and latency, inside and between nodes.
UP, UP_S = 100e9, 1e-6
OUT, OUT_S = 10e9, 10e-6


def dp_group(
    machine: ClusterSpec, dp: int, tp: int = 1, algorithm: AlgorithmName | None = None
) -> Group:
    machine = machine.model_copy(update={"collective_algorithm": algorithm})
    return axis_group(machine, PlanTable.of([PlanSpec(dp_replicate=dp, tp=tp)]), "dp")


def pp_group(machine: ClusterSpec, pp: int, tp: int) -> Group:
    return axis_group(machine, PlanTable.of([PlanSpec(pp=pp, tp=tp)]), "pp")


def test_ring_moves_2_times_7_eighths_of_the_message_in_14_hops(make_cluster: ClusterMaker) -> None:
    ring = all_reduce_s(GIB, dp_group(make_cluster(), 8, algorithm="ring"))
    assert ring == pytest.approx(2 * 7 / 8 * GIB / UP + 14 * UP_S)


def test_a_ring_over_nodes_uses_the_nics_of_all_its_members(make_cluster: ClusterMaker) -> None:
    """FSDP over 4 nodes: 8 × 10 GB/s out of a node; 3 of 31 hops leave it; such rings stall."""
    everywhere = all_gather_s(GIB, dp_group(make_cluster(), 32))
    assert everywhere == pytest.approx(31 / 32 * GIB / (8 * OUT) + 1.4 * (28 * UP_S + 3 * OUT_S))
    one_per_node = all_gather_s(GIB, dp_group(make_cluster(), 4, tp=8))
    assert one_per_node == pytest.approx(3 / 4 * GIB / OUT + 1.4 * 3 * OUT_S)


def test_the_slower_of_nvlink_and_all_nics_limits_a_ring(make_cluster: ClusterMaker) -> None:
    """Of the 8 rings, 7 pass through a device's NVLink, and one leaves through its NIC."""
    fast = LinkSpec(bandwidth_bytes_per_s=50e9, latency_s=0.0, efficiency=1.0)
    seconds = reduce_scatter_s(GIB, dp_group(make_cluster(nic=fast), 32))
    assert seconds == pytest.approx(31 / 32 * 7 / 8 * GIB / UP + 1.4 * 28 * UP_S)


NCCL = {"protocols": ("ll", "ll128", "simple")}


@pytest.mark.parametrize(
    ("message_bytes", "launch_s", "hop_share", "bandwidth"),
    [
        (32e3, 21.6e-6, 0.6 / 3.4, 1 / 4),
        (50e6, 29e-6, 1.9 / 3.4, 0.92),
        (16e9, 23.4e-6, 1.0, 1.0),
    ],
)
def test_messages_choose_ll_then_ll128_then_simple(
    message_bytes: float,
    launch_s: float,
    hop_share: float,
    bandwidth: float,
    make_cluster: ClusterMaker,
) -> None:
    """Links of 100 us, for the middle one to be worth it: 7 hops of a ring of 8."""
    group = dp_group(make_cluster(1, scale_up=NCCL | {"latency_s": 100e-6}), 8)
    expected = launch_s + 7 * 100e-6 * hop_share + 7 / 8 * message_bytes / UP / bandwidth
    assert all_gather_s(message_bytes, group) == pytest.approx(expected)


def test_trees_of_middle_sizes_do_not_fill_their_links(make_cluster: ClusterMaker) -> None:
    """1 MiB over 4 nodes reaches half of what a tree otherwise does (2^14 x 64 bytes)."""
    plain, nccl = (
        dp_group(make_cluster(scale_up=link), 32, algorithm="tree") for link in ({}, NCCL)
    )
    latency_s = all_reduce_s(0.0, plain)
    assert all_reduce_s(0.0, nccl) == latency_s
    slower = (all_reduce_s(2.0**20, nccl) - latency_s) / (all_reduce_s(2.0**20, plain) - latency_s)
    assert slower == pytest.approx(2.0)
    assert all_reduce_s(GIB, nccl) == all_reduce_s(GIB, plain)


def test_reduce_scatter_and_all_gather_make_an_all_reduce(make_cluster: ClusterMaker) -> None:
    group = dp_group(make_cluster(), 32, algorithm="ring")
    halves = reduce_scatter_s(GIB, group) + all_gather_s(GIB, group)
    assert all_reduce_s(GIB, group) == pytest.approx(halves)


def test_a_double_tree_moves_the_message_twice_and_climbs_log2_nodes(
    make_cluster: ClusterMaker,
) -> None:
    """Pipelined at 0.4 of what two trees could reach."""
    tree = all_reduce_s(GIB, dp_group(make_cluster(), 32, algorithm="tree"))
    assert tree == pytest.approx(2 * GIB / (8 * OUT) / 0.4 + 2 * (7 * UP_S + 2 * OUT_S))


def test_hierarchical_reduces_inside_the_node_before_it_leaves(make_cluster: ClusterMaker) -> None:
    seconds = all_reduce_s(GIB, dp_group(make_cluster(), 32, algorithm="hierarchical"))
    inside, outside = 7 / 8 * GIB / UP + 7 * UP_S, 3 / 4 * GIB / 8 / OUT + 3 * OUT_S
    assert seconds == pytest.approx(2 * (inside + outside))


def test_recursive_doubling_takes_log2_steps(make_cluster: ClusterMaker) -> None:
    seconds = all_gather_s(0.0, dp_group(make_cluster(), 32, algorithm="recursive-doubling"))
    assert seconds == pytest.approx(3 * UP_S + 2 * OUT_S)


def test_small_messages_take_the_tree_and_large_ones_the_ring(make_cluster: ClusterMaker) -> None:
    machine = make_cluster()
    chosen, ring, tree = (dp_group(machine, 32, algorithm=name) for name in (None, "ring", "tree"))
    assert all_reduce_s(1e3, chosen) == all_reduce_s(1e3, tree) < all_reduce_s(1e3, ring)
    assert all_reduce_s(1e10, chosen) == all_reduce_s(1e10, ring) < all_reduce_s(1e10, tree)


def test_a_named_tree_is_for_all_reduce_only(make_cluster: ClusterMaker) -> None:
    """As NCCL_ALGO=Tree leaves all-gather and reduce-scatter to the ring."""
    tree, free = (dp_group(make_cluster(), 32, algorithm=name) for name in ("tree", None))
    assert all_gather_s(GIB, tree) == all_gather_s(GIB, free)


def test_switches_that_reduce_take_the_message_once(make_cluster: ClusterMaker) -> None:
    """At 0.8 of what rings reach; gathers gain nothing, as every byte still arrives everywhere."""
    reducing = dp_group(make_cluster(1, scale_up={"reduces_in_network": True}), 8)
    plain = dp_group(make_cluster(1), 8)
    assert all_reduce_s(16 * GIB, reducing) == pytest.approx(16 * GIB / (0.8 * UP) + 70e-6)
    assert all_gather_s(GIB, reducing) == all_gather_s(GIB, plain)


# Bus bandwidth of NCCL's all-reduce in GB/s, for messages of 32 KiB, 64 KiB ... 16 GiB, published
# in stas00/ml-engineering: network/benchmarks/README.md (H200, B200), network/README.md (A100).
A100_BUSBW = (
    (
        *(1.31, 2.45, 4.43, 7.47, 11.41, 18.00, 36.18, 72.33, 109.93, 106.16),
        *(138.49, 171.54, 176.92, 194.07, 222.72, 229.04, 231.41, 233.88, 234.61, 234.89),
    ),
    (
        *(1.40, 2.80, 5.43, 10.43, 18.99, 34.88, 61.89, 70.70, 90.27, 112.72),
        *(133.71, 168.86, 179.99, 196.34, 203.03, 227.83, 230.13, 232.44),
    ),
    (
        *(1.90, 3.60, 7.19, 16.59, 32.64, 48.43, 66.26, 89.89, 112.37, 137.68),
        *(155.53, 190.73, 198.78, 211.78, 221.13, 227.91, 230.72, 232.81),
    ),
)
"""One node of 8: three published tables, which differ by up to 2.7 times at 1 MiB. The second and
third are of nccl-tests on one machine, with one process for all devices and with one for each."""
H200_BUSBW = (
    *(3.15, 6.16, 12.46, 24.68, 48.15, 74.57, 96.26, 145.14, 196.56, 255.90),
    *(301.25, 368.86, 414.54, 441.87, 456.23, 465.91, 471.06, 474.13, 478.24, 482.25),
)
"""One node of 8, whose switches reduce: above the link's 450 GB/s."""
B200_BUSBW = (
    *(0.65, 1.27, 2.35, 4.06, 6.99, 12.47, 20.79, 31.63, 50.61, 71.80),
    *(142.90, 197.77, 260.50, 283.23, 309.91, 365.99, 371.26, 374.66, 376.14, 376.71),
)
"""Four nodes of 8 with 8 × 400 Gb/s each."""
FROM_1_TO_16_MIB = slice(5, 10)
FROM_64_MIB = slice(11, None)


def measured_times_s(n: int, gb_per_s: tuple[float, ...]) -> FloatArray:
    """Seconds for messages of 32 KiB, 64 KiB ... from bus bandwidths."""
    message = 2.0 ** np.arange(15, 15 + len(gb_per_s))
    return np.asarray(2 * (n - 1) / n * message / (np.array(gb_per_s) * 1e9))


def busbw_errors(group: Group, measured_s: FloatArray) -> FloatArray:
    """Predicted over measured time less one, for every message."""
    message = 2.0 ** np.arange(15, 15 + len(measured_s))
    seconds = np.array([float(all_reduce_s(each, group)[0]) for each in message])
    return np.asarray(np.abs(seconds / measured_s - 1))


def test_bus_bandwidth_of_an_a100_node() -> None:
    """The catalog's link, NVLink 3 at the efficiency that fits to training runs gave it, against
    the geometric mean of three tables."""
    tables = [measured_times_s(8, table[:18]) for table in A100_BUSBW]
    measured_s = np.exp(np.mean(np.log(tables), axis=0))
    errors = busbw_errors(dp_group(parse_cluster("a100-sxm-80gb:8"), 8), measured_s)
    assert errors.mean() < 0.10
    assert errors.max() < 0.19
    assert errors[FROM_64_MIB].max() < 0.11


def test_bus_bandwidth_of_an_h200_node_whose_switches_reduce() -> None:
    """The catalog's link again; a ring would take 58 % longer."""
    group = dp_group(parse_cluster("h200-sxm-141gb:8"), 8)
    errors = busbw_errors(group, measured_times_s(8, H200_BUSBW))
    assert errors.mean() < 0.09
    assert errors[FROM_1_TO_16_MIB].max() < 0.11
    assert errors.max() < 0.16


@pytest.mark.parametrize(
    ("device", "operation", "wire", "measured_gb_per_s"),
    [
        ("h100-sxm-80gb", all_reduce_s, 2 * 7 / 8, 480.0),
        ("h100-sxm-80gb", all_to_all_s, 7 / 8, 340.0),
        ("h200-sxm-141gb", all_reduce_s, 2 * 7 / 8, 482.25),
        ("b200-sxm-180gb", all_reduce_s, 2 * 7 / 8, 838.97),
        ("a100-sxm-80gb", all_reduce_s, 2 * 7 / 8, 234.89),
    ],
)
def test_the_catalog_comes_near_the_bus_bandwidth_of_nodes(
    device: str,
    operation: Callable[..., FloatArray],
    wire: float,
    measured_gb_per_s: float,
) -> None:
    """Large messages over 8 devices: H100 of HuggingFaceTB/smol-training-playbook (with NVLS),
    the others of stas00/ml-engineering: network/benchmarks/README.md and network/README.md. The
    catalog's efficiency is that of collectives in training steps, beside kernels: up to a fifth
    less than a benchmark of one collective reaches.
    """
    group = dp_group(parse_cluster(f"{device}:8"), 8)
    predicted = wire * 16 * GIB / float(operation(16 * GIB, group)[0])
    assert predicted == pytest.approx(measured_gb_per_s * 1e9, rel=0.2)


def test_bus_bandwidth_of_four_b200_nodes(make_cluster: ClusterMaker) -> None:
    """NCCL's own latencies of a hop; the last row fixes the efficiency of a NIC, 0.94."""
    nic = {"bandwidth_bytes_per_s": 50e9, "latency_s": 14e-6, "efficiency": 0.94}
    link = {
        "bandwidth_bytes_per_s": 900e9,
        "latency_s": 3.4e-6,
        "reduces_in_network": True,
        "protocols": ("ll", "simple"),
    }
    group = dp_group(make_cluster(4, nic=nic, scale_up=link), 32)
    errors = busbw_errors(group, measured_times_s(32, B200_BUSBW))
    assert errors.mean() < 0.11
    assert errors.max() < 0.29
    assert errors[FROM_64_MIB].max() < 0.12


@pytest.mark.parametrize("n_nodes", [2, 4, 32])
def test_all_to_all_reaches_n_nodes_over_n_minus_1_of_a_nic(
    n_nodes: int, make_cluster: ClusterMaker
) -> None:
    """As NCCL's authors expect it: NVIDIA/nccl-tests, issue 130."""
    group = dp_group(make_cluster(n_nodes), 8 * n_nodes)
    busbw = (1 - 1 / (8 * n_nodes)) * GIB / (all_to_all_s(GIB, group) - OUT_S)
    assert busbw == pytest.approx(n_nodes / (n_nodes - 1) * OUT, rel=1 / 15)


def test_an_oversubscribed_pod_does_not_slow_a_ring_that_leaves_it_once(
    make_cluster: ClusterMaker,
) -> None:
    """4 members in a pod share its uplink with as many rings as there are devices beside them."""
    machine = make_cluster(16, nodes_per_pod=4, oversubscription=4.0)
    assert all_gather_s(GIB, dp_group(machine, 16, tp=8)) == pytest.approx(
        15 / 16 * GIB / OUT + 1.4 * 15 * OUT_S
    )
    narrow = make_cluster(16, nodes_per_pod=4, oversubscription=8.0)
    assert all_gather_s(GIB, dp_group(narrow, 16, tp=8)) == pytest.approx(
        15 / 16 * GIB / (OUT / 8 * 4) + 1.4 * 15 * OUT_S
    )


def test_all_to_all_sends_what_leaves_the_node_through_the_nic(make_cluster: ClusterMaker) -> None:
    inside = all_to_all_s(GIB, dp_group(make_cluster(), 8))
    assert inside == pytest.approx(7 / 8 * GIB / UP + UP_S)
    between = all_to_all_s(GIB, dp_group(make_cluster(), 32))
    assert between == pytest.approx(24 / 32 * GIB / OUT + OUT_S)


def test_a_token_goes_to_a_node_once_however_many_experts_it_has_there(
    make_cluster: ClusterMaker,
) -> None:
    """8 copies of a token over 4 nodes reach 4 (1 - 0.75^8) = 3.600 of them, 3/4 of those away."""
    once = all_to_all_s(GIB, dp_group(make_cluster(), 32), copies_per_token=8)
    assert once == pytest.approx(GIB / 8 * 2.6996 / OUT + OUT_S, rel=1e-4)


def test_limited_routing_reaches_fewer_nodes(make_cluster: ClusterMaker) -> None:
    limited = all_to_all_s(GIB, dp_group(make_cluster(), 32), copies_per_token=8, most_domains=2)
    assert limited == pytest.approx(GIB / 8 * 2 * 0.75 / OUT + OUT_S)
    free = all_to_all_s(GIB, dp_group(make_cluster(), 32), copies_per_token=8)
    loose = all_to_all_s(GIB, dp_group(make_cluster(), 32), copies_per_token=8, most_domains=4)
    assert loose == pytest.approx(free)


def test_point_to_point_goes_through_one_nic(make_cluster: ClusterMaker) -> None:
    assert p2p_s(GIB, pp_group(make_cluster(), 2, tp=4)) == pytest.approx(GIB / UP + UP_S)
    assert p2p_s(GIB, pp_group(make_cluster(), 4, tp=8)) == pytest.approx(GIB / OUT + OUT_S)


def test_point_to_point_between_pods_shares_the_uplink(make_cluster: ClusterMaker) -> None:
    """Two stages of 16 devices in a pod of 32: only one stage sends through the 1:7 uplink."""
    machine = make_cluster(8, nodes_per_pod=4, oversubscription=7.0)
    assert p2p_s(GIB, pp_group(machine, 4, tp=16)) == pytest.approx(GIB / (OUT * 2 / 7) + OUT_S)


OPERATIONS: list[Callable[..., FloatArray]] = [
    all_reduce_s,
    all_gather_s,
    reduce_scatter_s,
    all_to_all_s,
    p2p_s,
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_rank_alone_has_nobody_to_wait_for(
    operation: Callable[..., FloatArray], make_cluster: ClusterMaker
) -> None:
    assert operation(GIB, dp_group(make_cluster(), 1, tp=8)) == 0.0


sizes = st.sampled_from([2, 3, 4, 8, 16, 24, 64])
bytes_ = st.floats(0, 1e12)


@given(
    dp=sizes,
    tp=sizes,
    small=bytes_,
    more=bytes_,
    pod=st.integers(0, 4),
    scale_up=st.sampled_from([{}, NCCL, {"protocols": ("ll", "simple")}]),
)
def test_never_faster_than_the_wire_and_more_bytes_never_faster(
    dp: int,
    tp: int,
    small: float,
    more: float,
    pod: int,
    scale_up: dict[str, object],
    make_cluster: ClusterMaker,
) -> None:
    machine = make_cluster(
        -(-dp * tp // 8), nodes_per_pod=pod, oversubscription=3.0, scale_up=scale_up
    )
    group = dp_group(machine, dp, tp)
    part = (dp - 1) / dp
    for operation, wire in zip(OPERATIONS, [2 * part, part, part, part, 1.0], strict=True):
        seconds = operation(small, group)
        assert operation(small + more, group) >= seconds
        assert seconds >= wire * small / UP * (1 - 1e-9)


def test_a_table_is_priced_row_by_row(make_cluster: ClusterMaker) -> None:
    plans = [PlanSpec(dp_replicate=d, tp=t) for d in (1, 2, 8, 32) for t in (1, 4, 8)]
    machine = make_cluster(32)
    together = all_reduce_s(
        np.full(len(plans), GIB), axis_group(machine, PlanTable.of(plans), "dp")
    )
    alone = [dp_group(machine, plan.dp_replicate, plan.tp) for plan in plans]
    assert together == pytest.approx(np.concatenate([all_reduce_s(GIB, group) for group in alone]))


# Gloo on loopback, 2 cores, fitted to medians of 5 launches (docs/design/fabric.md).
GLOO = (
    CollectiveFit(operation="all-reduce", n_ranks=2, alpha_s=595e-6, bandwidth_bytes_per_s=1.25e9),
    CollectiveFit(operation="all-reduce", n_ranks=4, alpha_s=5096e-6, bandwidth_bytes_per_s=1.01e9),
    CollectiveFit(
        operation="all-reduce",
        n_ranks=2,
        n_busy_ranks=4,
        alpha_s=2000e-6,
        bandwidth_bytes_per_s=1.0e9,
    ),
)


@pytest.mark.parametrize(
    ("dp", "tp", "alpha_s", "bandwidth"),
    [
        (2, 1, 595e-6, 1.25e9),
        (4, 1, 5096e-6, 1.01e9),
        (2, 2, 2000e-6, 1.0e9),
        (8, 1, 5096e-6 / 3 * 7, 1.01e9),
    ],
)
def test_measured_collectives_win_by_size_and_busy_ranks(
    dp: int, tp: int, alpha_s: float, bandwidth: float, make_cluster: ClusterMaker
) -> None:
    machine = make_cluster(1, kind="none", measured=GLOO)
    seconds = all_reduce_s(64e6, dp_group(machine, dp, tp))
    assert seconds == pytest.approx(alpha_s + 2 * (dp - 1) / dp * 64e6 / bandwidth)


def test_a_size_between_measured_ones_is_interpolated(make_cluster: ClusterMaker) -> None:
    machine = make_cluster(1, kind="none", measured=GLOO)
    three = all_reduce_s(0.0, dp_group(machine, 3))
    assert 595e-6 < three < 5096e-6


def test_what_was_not_measured_comes_from_the_links(make_cluster: ClusterMaker) -> None:
    machine = make_cluster(2, measured=GLOO)
    assert all_gather_s(GIB, dp_group(machine, 8)) == pytest.approx(7 / 8 * GIB / UP + 7 * UP_S)
    across = all_reduce_s(GIB, dp_group(machine, 2, tp=8))
    assert across == pytest.approx(GIB / OUT + 1.4 * 2 * OUT_S)
