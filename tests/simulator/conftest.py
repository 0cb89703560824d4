"""What tests of the simulator share: a small cluster with round numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.spec.cluster import (
    Calibration,
    ClusterSpec,
    CollectiveFit,
    DeviceSpec,
    FabricSpec,
    KernelEfficiency,
    LinkSpec,
)
from simulator.spec.links import AlgorithmName, LinkFault
from simulator.spec.peaks import PeakRates

ClusterMaker = Callable[..., ClusterSpec]


@pytest.fixture(scope="session")
def make_cluster() -> ClusterMaker:
    """Nodes of 8 devices: 100 GB/s and 1 us inside, 10 GB/s and 10 us per device between them."""
    return _cluster


def _cluster(
    n_nodes: int = 4,
    *,
    per_node: int = 8,
    domain: int = 0,
    scale_up: dict[str, object] | None = None,
    measured: tuple[CollectiveFit, ...] = (),
    faults: tuple[LinkFault, ...] = (),
    algorithm: AlgorithmName | None = None,
    **fabric: object,
) -> ClusterSpec:
    device = DeviceSpec(
        name="gpu",
        vendor="any",
        memory_bytes=80e9,
        memory_bandwidth_bytes_per_s=3e12,
        peak=PeakRates(bf16_flops_per_s=1e15),
        efficiency=KernelEfficiency(
            gemm_fraction=0.7,
            gemm_wave_length=1600.0,
            gemm_saturation_length=250.0,
            attention_fraction=0.45,
            attention_backward_ratio=2.85,
            memory_fraction=0.85,
            launch_latency_s=4e-6,
            group_rows=280.0,
        ),
        devices_per_node=per_node,
        scale_up=LinkSpec.model_validate(
            {"bandwidth_bytes_per_s": 125e9, "latency_s": 1e-6, "efficiency": 0.8}
            | (scale_up or {})
        ),
        scale_up_domain_devices=domain or per_node,
        sources=(),
    )
    nic = LinkSpec(bandwidth_bytes_per_s=20e9, latency_s=10e-6, efficiency=0.5)
    return ClusterSpec(
        name="test",
        device=device,
        n_nodes=n_nodes,
        devices_per_node=per_node,
        scale_up=device.scale_up,
        scale_up_domain_devices=domain or per_node,
        fabric=FabricSpec.model_validate({"name": "net", "kind": "fat-tree", "nic": nic} | fabric),
        collective_algorithm=algorithm,
        link_faults=faults,
        calibration=Calibration(date="2026-11-01", collectives=measured) if measured else None,
    )
