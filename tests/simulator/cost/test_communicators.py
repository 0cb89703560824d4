"""Buffers of the communication library against what was measured, and against its own code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog.cluster import parse_cluster
from simulator.cost.communicators import communicator_bytes
from simulator.cost.plan_table import PlanTable
from simulator.spec.plan import PlanSpec

MIB = 2.0**20


def held(cluster: str, **mesh: int) -> float:
    """MiB that one rank holds for all groups of a plan."""
    plan = PlanSpec.model_validate({"zero_stage": 1, **mesh})
    table = PlanTable.of([plan])
    return float(communicator_bytes(parse_cluster(cluster), table)[0]) / MIB


@pytest.mark.parametrize(("n_ranks", "measured"), [(2, 544), (4, 688)])
def test_groups_of_a100(n_ranks: int, measured: float) -> None:
    """NVIDIA/nccl#964; of the second the constants know nothing."""
    found = held(f"a100-sxm-80gb:{n_ranks}", dp_shard=n_ranks)
    assert found == pytest.approx(measured, rel=0.11)


def test_experts_of_one_host_hold_a_buffer_per_peer_and_channel() -> None:
    """7 peers x 32 channels x 12 MiB and the communicator (NVIDIA/nccl#1685: 1.06 to 4.34 GB)."""
    more = held("h100-sxm:8", dp_shard=8, ep=8) - held("h100-sxm:8", dp_shard=8)
    assert more == 256 + 7 * 32 * 12


def test_one_rank_talks_to_nobody() -> None:
    assert held("h100-sxm:1") == 0.0


def test_a_mesh_of_three_axes() -> None:
    """All ranks, tp inside a domain whose switches reduce, copies and stages over domains."""
    ring = 24 * 12 * (2 - 1 / 256) + 24 * 12 * (2 - 1 / 8) * 2
    multicast = 8 * 32 * 2
    found = held("h100-sxm:256", dp_shard=8, tp=8, pp=4)
    assert found == pytest.approx(4 * 256 + ring + multicast + 128)


@given(
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 2, 4]),
)
def test_more_groups_never_hold_less(pp: int, tp: int, cp: int) -> None:
    """Of 128 ranks; data parallelism takes the rest."""
    alone = held("h100-sxm:128", dp_shard=128)
    divided = held("h100-sxm:128", dp_shard=128 // (pp * tp * cp), pp=pp, tp=tp, cp=cp)
    assert divided >= alone
