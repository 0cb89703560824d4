"""What gradients cost between ranks, in one step."""

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec


def reduced_s(zero_stage: int, **mesh: int) -> np.ndarray:
    """Time of a layer's reductions in a step of 1, 2 and 4 microbatches."""
    plans = [
        PlanSpec.model_validate({"zero_stage": zero_stage, "n_microbatches": n, **mesh})
        for n in (1, 2, 4)
    ]
    table = PlanTable.of(plans)
    costs = price_step(
        find_model("llama3-8b"),
        parse_cluster("h100-sxm:64"),
        JobSpec(sequence_length=4096),
        find_software("default"),
        table,
    )
    times = np.where(costs.reduce_every_microbatch, table.n_microbatches, 1) * costs.dense.reduce_s
    return np.asarray(times)


def test_shards_are_reduced_for_every_microbatch_and_copies_once() -> None:
    sharded = reduced_s(3, dp_shard=64)
    np.testing.assert_allclose(sharded, sharded[0] * np.array([1, 2, 4]))
    inside = reduced_s(3, dp_shard=8, dp_replicate=8)
    shards_s = inside[1] - inside[0]
    copies_s = inside[0] - shards_s
    assert copies_s > shards_s  # links between nodes are the slower ones
    assert inside[2] == pytest.approx(4 * shards_s + copies_s)


def test_optimizer_shards_are_reduced_once() -> None:
    once = reduced_s(1, dp_shard=8, dp_replicate=8)
    np.testing.assert_allclose(once, once[0])
