from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.catalog.cluster import read_cluster_file
from simulator.catalog.scenario_file import load_scenario
from simulator.fabric import traffic
from simulator.fabric.flows import Routes
from simulator.fabric.topology import build_graph
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.links import LinkFault
from simulator.spec.plan import PlanSpec
from simulator.step.predict import predict_step

ClusterMaker = Callable[..., ClusterSpec]
TIB = 2.0**40
SCENARIO = "scenarios/llama3-70b-on-64-h100.yaml"


def gather_s(cluster: ClusterSpec) -> float:
    routes = Routes(build_graph(cluster))
    group = [f"device-{device}" for device in range(cluster.n_devices)]
    return traffic.time_s(routes, traffic.ring_pass(routes, [group], TIB))


def fault(level: str, device: int, remaining: float) -> LinkFault:
    return LinkFault.model_validate({"level": level, "device": device, "remaining": remaining})


@pytest.mark.parametrize(
    ("where", "slower"),
    [
        (fault("scale-out", 3, 0.0), 8 / 7),  # its ring spreads over the 7 other interfaces
        (fault("scale-out", 3, 0.5), 2.0),  # one ring of eight waits, and all end together
        # 8 rings of 10 GB/s put 70 GB/s through a device's scale-up link of 100.
        (fault("scale-up", 3, 0.71), 1.0),
        (fault("scale-up", 3, 0.35), 2.0),
    ],
)
def test_what_a_fault_costs_rings_over_four_nodes(
    where: LinkFault, slower: float, make_cluster: ClusterMaker
) -> None:
    whole = gather_s(make_cluster(4, kind="rail-optimized"))
    degraded = gather_s(make_cluster(4, kind="rail-optimized", faults=(where,)))
    assert degraded == pytest.approx(slower * whole, rel=1e-3)


def test_a_slow_interface_slows_the_steps_that_cross_it() -> None:
    """FSDP over 8 nodes waits for its slowest interface; tensor parallelism inside does not."""
    slow = ("cluster.link_faults=[{level: scale-out, device: 17, remaining: 0.2}]",)
    plan = PlanSpec(dp_replicate=2, tp=8, pp=4, n_microbatches=512, recompute="full")
    whole, degraded = (
        predict_step(load_scenario(SCENARIO, overrides=overrides), plan) for overrides in ((), slow)
    )
    assert degraded.step_s > whole.step_s
    assert degraded.breakdown.tp_s == pytest.approx(whole.breakdown.tp_s)
    assert degraded.breakdown.dp_s > 2 * whole.breakdown.dp_s
    assert "interface of device 17 at 20 %" in " ".join(degraded.assumptions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{level: pods, device: 0, remaining: 0.5}", "level=pods is not in this cluster; it has "),
        ("{level: scale-out, device: 16, remaining: 0.5}", "device=16 of 16; they count from 0"),
        ("{level: scale-up, remaining: 0}", "remaining=0 cuts devices off"),
        ("{level: scale-out, remaining: 1.5}", r"remaining: should be less than 1, not 1.5"),
        ("{level: scale-out, remaining: -1}", r"remaining: should be greater than or equal to 0"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_at_its_place(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(f"device: h100-sxm\nnodes: 2\nlink_faults:\n  - {text}\n")
    with pytest.raises(InputError, match=message) as caught:
        read_cluster_file(path)
    assert str(caught.value).startswith(f"{path}:")


def test_the_last_interface_of_a_node_cannot_be_lost(make_cluster: ClusterMaker) -> None:
    with pytest.raises(ValueError, match="remaining=0 cuts devices off"):
        make_cluster(2, nics_per_node=1, faults=(fault("scale-out", 0, 0.0),))
