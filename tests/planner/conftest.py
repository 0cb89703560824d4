"""Small scenarios for the planner's tests, without the catalog."""

from collections.abc import Callable

import pytest

from simulator.spec.cluster import (
    ClusterSpec,
    DeviceSpec,
    FabricSpec,
    KernelEfficiency,
    LinkSpec,
)
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec, MoeSpec
from simulator.spec.peaks import PeakRates
from simulator.spec.scenario import PlanLimits, Scenario

GIB = 2.0**30


def small_model(*, n_experts: int = 0, **changes: object) -> ModelSpec:
    values: dict[str, object] = {
        "name": "small",
        "n_layers": 6,
        "hidden_size": 512,
        "n_heads": 12,
        "n_kv_heads": 4,
        "head_dim": 64,
        "ffn_size": 1536,
        "vocab_size": 1024,
    }
    if n_experts:
        values["moe"] = MoeSpec(n_experts=n_experts, top_k=2, expert_ffn_size=256)
    return ModelSpec.model_validate(values | changes)


def small_cluster(n_devices: int, *, memory_bytes: float = 80 * GIB) -> ClusterSpec:
    per_node = next(size for size in (8, 6, 4, 3, 2, 1) if n_devices % size == 0)
    scale_up = LinkSpec(bandwidth_bytes_per_s=450e9, latency_s=2e-6)
    device = DeviceSpec(
        name="test-device",
        vendor="none",
        memory_bytes=memory_bytes,
        memory_bandwidth_bytes_per_s=3.35e12,
        peak=PeakRates(fp32_flops_per_s=60e12, bf16_flops_per_s=989e12),
        efficiency=KernelEfficiency(gemm_fraction=0.75),
        tdp_w=700,
        devices_per_node=per_node,
        scale_up=scale_up,
        scale_up_domain_devices=per_node,
        nic_bandwidth_bytes_per_s=50e9,
        sources=(),
    )
    return ClusterSpec(
        name="test-cluster",
        device=device,
        n_nodes=n_devices // per_node,
        devices_per_node=per_node,
        scale_up=scale_up,
        scale_up_domain_devices=per_node,
        fabric=FabricSpec(
            name="test-fabric",
            kind="rail-optimized",
            nic=LinkSpec(bandwidth_bytes_per_s=50e9, latency_s=5e-6),
        ),
    )


def small_scenario(
    *,
    n_devices: int = 8,
    n_experts: int = 0,
    batch: int = 24,
    sequence_length: int = 96,
    target: str | None = None,
    limits: PlanLimits | None = None,
    memory_bytes: float = 80 * GIB,
) -> Scenario:
    return Scenario(
        name="small",
        model=small_model(n_experts=n_experts),
        cluster=small_cluster(n_devices, memory_bytes=memory_bytes),
        job=JobSpec(tokens=10**9, sequence_length=sequence_length, global_batch_sequences=batch),
        limits=limits or PlanLimits(),
        target=target,
    )


@pytest.fixture
def make_scenario() -> Callable[..., Scenario]:
    return small_scenario
