"""Measured kernels: reproduced where they were measured, followed smoothly near it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.catalog import find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.kernels import Kernels, device_kernels
from simulator.cost.measured_kernels import Lookups
from simulator.cost.plan_table import PlanTable
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.kernel_table import AttentionPoint, GemmPoint, KernelTable
from simulator.spec.plan import PlanSpec

MEASURED = GemmPoint(m=8192, n=28672, k=8192, precision=Precision.BF16, time_s=8e-3)
SMALL = GemmPoint(m=512, n=1024, k=1024, precision=Precision.BF16, time_s=20e-6)
EXPERTS = GemmPoint(groups=8, m=1024, n=4096, k=7168, precision=Precision.BF16, time_s=2e-3)


def kernels(
    *points: GemmPoint | AttentionPoint,
    precision: Precision = Precision.BF16,
    lookups: Lookups | None = None,
) -> Kernels:
    table = KernelTable(
        name="kernels.csv",
        gemms=tuple(point for point in points if isinstance(point, GemmPoint)),
        attentions=tuple(point for point in points if isinstance(point, AttentionPoint)),
    )
    cluster = parse_cluster("h100-sxm:8").model_copy(update={"kernels": table})
    plans = PlanTable.of([PlanSpec()])
    return device_kernels(
        cluster, JobSpec(precision=precision), find_software("default"), plans, lookups
    )


def product_s(of: Kernels, m: float, n: float, k: float, *, wide: bool = False) -> float:
    return float(of.gemm_s(np.array([m]), np.array([n]), np.array([k]), wide=wide)[0])


def test_a_measured_shape_takes_the_measured_time() -> None:
    measured = kernels(MEASURED, SMALL)
    assert product_s(measured, 8192, 28672, 8192) == pytest.approx(8e-3)
    assert product_s(measured, 512, 1024, 1024) == pytest.approx(20e-6)


def test_a_shape_near_a_measured_one_is_slower_by_the_same_factor() -> None:
    measured, modelled = kernels(MEASURED, SMALL), kernels()
    factor = 8e-3 / product_s(modelled, 8192, 28672, 8192)
    near = product_s(measured, 8192, 28672, 7168) / product_s(modelled, 8192, 28672, 7168)
    assert near == pytest.approx(factor, rel=0.01)


def test_what_was_not_measured_is_modelled() -> None:
    """Another kind of kernel, or another number format."""
    groups, rows = np.array([8.0]), np.array([1024.0])
    assert kernels(MEASURED).grouped_gemm_s(groups, rows, 4096.0, 7168.0) == pytest.approx(
        kernels().grouped_gemm_s(groups, rows, 4096.0, 7168.0)
    )
    fp8, modelled = (kernels(*points, precision=Precision.FP8) for points in ((MEASURED,), ()))
    shape = (8192, 28672, 8192)
    assert product_s(fp8, *shape) == pytest.approx(product_s(modelled, *shape))
    assert product_s(fp8, *shape, wide=True) == pytest.approx(8e-3)


def test_grouped_products_and_attention_have_their_own_rows() -> None:
    attention = AttentionPoint(
        sequences=2,
        heads=8,
        length=4096,
        head_dim=128,
        value_dim=128,
        causal=True,
        precision=Precision.BF16,
        time_s=300e-6,
    )
    measured = kernels(EXPERTS, attention)
    grouped_s = measured.grouped_gemm_s(np.array([8.0]), np.array([1024.0]), 4096.0, 7168.0)
    assert grouped_s == pytest.approx(2e-3)
    forward_s, backward_s = measured.attention_s(
        np.array([16.0]), np.array([4096.0]), 4097 / 2, 128.0, 128.0
    )
    assert forward_s == pytest.approx(300e-6)
    assert backward_s == pytest.approx(measured.attention_backward_ratio * 300e-6)
    backward = attention.model_copy(update={"backward": True, "time_s": 1e-3})
    _, backward_s = kernels(attention, backward).attention_s(
        np.array([16.0]), np.array([4096.0]), 4097 / 2, 128.0, 128.0
    )
    assert backward_s == pytest.approx(1e-3)


def test_fp16_takes_the_times_of_bf16() -> None:
    assert product_s(kernels(MEASURED, precision=Precision.FP16), 8192, 28672, 8192) == (
        pytest.approx(8e-3)
    )


sizes = st.integers(64, 65536)


@given(m=sizes, n=sizes, k=sizes)
def test_factors_stay_between_the_measured_ones(m: int, n: int, k: int) -> None:
    modelled = kernels()

    def modelled_s(*shape: int) -> float:
        return float(modelled.modelled_s("gemm", shape, wide=False))

    factors = [p.time_s / modelled_s(p.m, p.n, p.k) for p in (MEASURED, SMALL)]
    seconds, expected_s = product_s(kernels(MEASURED, SMALL), m, n, k), modelled_s(m, n, k)
    assert min(factors) * expected_s * (1 - 1e-9) <= seconds
    assert seconds <= max(modelled.launch_s, max(factors) * expected_s * (1 + 1e-9))


def test_lookups_say_what_was_measured_and_what_was_missed() -> None:
    lookups = Lookups()
    measured = kernels(MEASURED, lookups=lookups)
    product_s(measured, 8192, 28672, 8192)
    product_s(measured, 8192, 28672, 8192)
    product_s(measured, 8192, 1024, 4096)
    told = lookups.of_table("kernels.csv")
    assert (told.n_shapes, told.n_measured) == (2, 1)
    assert told.missed == ("bf16 gemm m=8192 n=1024 k=4096",)
