"""Ranks that share the cores of one host."""

import numpy as np
import pytest

from simulator.catalog.cluster import parse_cluster
from simulator.cost.host import busy_columns, busy_ranks, slowdown
from simulator.cost.plan_table import PlanTable
from simulator.spec.cluster import Calibration, ClusterSpec
from simulator.spec.plan import PlanSpec


def shared(n_devices: int, *, n_other_ranks: int = 0) -> ClusterSpec:
    cluster = parse_cluster(f"cpu:{n_devices}")
    host = cluster.host.model_copy(update={"n_other_ranks": n_other_ranks})
    calibration = Calibration(date="2026-11-25", shared_slowdown=(1.0, 1.0, 1.5, 2.0))
    return cluster.model_copy(update={"calibration": calibration, "host": host})


def test_data_parallel_ranks_are_always_busy() -> None:
    table = PlanTable.of([PlanSpec(dp_replicate=4)])
    assert busy_ranks(shared(4), table) == pytest.approx([4.0])


def test_a_pipeline_leaves_cores_free_in_its_bubble() -> None:
    """4 stages, 8 microbatches: 8 of 11 slots are used, so 4 x 8 / 11 = 2.9 ranks at a time."""
    plans = [
        PlanSpec(pp=4, n_microbatches=8),
        PlanSpec(pp=4, virtual_stages=2, schedule="interleaved-1f1b", n_microbatches=8),
    ]
    busy = busy_ranks(shared(4), PlanTable.of(plans))
    assert busy == pytest.approx([4 * 8 / 11, 4 * 16 / 19])


def test_ranks_of_other_jobs_count() -> None:
    table = PlanTable.of([PlanSpec(dp_replicate=2)])
    assert busy_ranks(shared(2, n_other_ranks=2), table) == pytest.approx([4.0])


def test_no_rank_counts_for_less_than_itself() -> None:
    table = PlanTable.of([PlanSpec(pp=2)])
    assert busy_ranks(shared(2), table) == pytest.approx([1.0])


def test_devices_of_their_own_need_no_column() -> None:
    table = PlanTable.of([PlanSpec(pp=4, n_microbatches=8)])
    cluster = parse_cluster("h100-sxm:8")
    assert busy_columns(cluster, table) == ()
    assert busy_ranks(cluster, table) == pytest.approx([4.0])


def test_slowdown_is_linear_between_what_was_measured_and_held_beyond() -> None:
    found = slowdown((1.0, 1.0, 1.5, 2.0), np.array([1.0, 2.0, 2.5, 4.0, 9.0]))
    assert found == pytest.approx([1.0, 1.0, 1.25, 2.0, 2.0])
    assert slowdown((), np.array([7.0])) == pytest.approx([1.0])
