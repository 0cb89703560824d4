import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.kernels import Kernels, device_kernels
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec

PLAN = PlanSpec(precision=Precision.BF16)


def kernels(precision: Precision, software: str = "default", device: str = "b200") -> Kernels:
    job = JobSpec(sequence_length=4096, global_batch_sequences=8, precision=precision)
    table = PlanTable.of([PLAN.model_copy(update={"precision": precision})])
    return device_kernels(parse_cluster(f"{device}:1"), job, find_software(software), table)


def grouped_s(own: Kernels, rows: float) -> float:
    return own.grouped_gemm_s(np.array([8.0]), np.array([rows]), 8192.0, 8192.0).item()


def test_an_expert_s_rows_share_the_cost_of_starting_its_multiplication() -> None:
    """Twice the rows cost (2 M + M0) / (M + M0) times as much."""
    own = kernels(Precision.BF16)
    expected = (4096 + own.group_rows) / (2048 + own.group_rows)
    assert grouped_s(own, 4096.0) / grouped_s(own, 2048.0) == pytest.approx(expected)


def test_starting_a_group_takes_as_long_in_a_narrow_format() -> None:
    """Time is a + b M; b falls with the format, a does not."""
    wide, narrow = kernels(Precision.BF16), kernels(Precision.FP8)
    starts = [
        grouped_s(own, 8192.0) - 2.0 * (grouped_s(own, 8192.0) - grouped_s(own, 4096.0))
        for own in (wide, narrow)
    ]
    assert starts[0] > 0.0
    assert starts[1] == pytest.approx(starts[0])


def test_four_bits_gain_what_the_software_gets_out_of_them() -> None:
    recipe, other = kernels(Precision.NVFP4), kernels(Precision.NVFP4, "torchtitan")
    eight = kernels(Precision.FP8)
    assert recipe.gemm_flops_per_s > other.gemm_flops_per_s >= eight.gemm_flops_per_s


def test_steps_grow_with_the_ranks_that_wait_for_each_other() -> None:
    """A doubling of the replicas adds `growth_per_doubling`; a longer pipeline does not."""
    model, software = find_model("llama3-8b"), find_software("megatron-2021")
    job = JobSpec(sequence_length=4096, global_batch_sequences=64)
    table = PlanTable.of(
        [PlanSpec(pp=pp, dp_replicate=dp, n_microbatches=64 // dp) for pp, dp in ((8, 1), (4, 2))]
    )
    costs = price_step(model, parse_cluster("a100:8"), job, software, table)
    np.testing.assert_allclose(costs.scale_factor, [1.0, 1.0 + software.growth_per_doubling])
