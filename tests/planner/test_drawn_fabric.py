"""Other sizes and other devices of a cluster whose fabric the user drew or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.changes import more_devices, resized, with_device, with_devices
from planner.fewer_nodes import on_fewer_nodes
from planner.size import size
from simulator.catalog.scenario_file import scenario_from_flags, with_overrides
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step

LEAF = "  - {{ends: [node-{0}, leaf-{1}], bandwidth_bytes_per_s: 3200 Gb/s, latency_s: 0.5 us}}\n"


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Eight nodes under two leaves with half the bandwidth between them."""
    nodes = "".join(LEAF.format(node, node // 4) for node in range(8))
    core = "  - {ends: [leaf-0, leaf-1], bandwidth_bytes_per_s: 6400 Gb/s}\n"
    (tmp_path / "fabric.yaml").write_text(f"links:\n{nodes}{core}")
    return scenario_from_flags(
        model="llama3-8b",
        cluster=f"h100-sxm@graph:{tmp_path / 'fabric.yaml'}",
        overrides=["cluster.link_model=flows", "job.tokens=10B"],
    )


@pytest.mark.parametrize("n_devices", [8, 32, 64])
def test_a_smaller_cluster_is_priced_by_flows(scenario: Scenario, n_devices: int) -> None:
    sized = with_devices(scenario, n_devices)
    assert Scenario.model_validate_json(sized.model_dump_json()) == sized
    assert predict_step(sized, PlanSpec(dp_replicate=n_devices // 8, tp=8)).step_s > 0
    assert sized.cluster.fabric.oversubscription == (2.0 if n_devices == 64 else 1.0)


def test_more_than_the_graph_joins_is_refused(scenario: Scenario) -> None:
    with pytest.raises(InputError, match="joins 8 nodes, and 16 are wanted"):
        resized(scenario.cluster, 128)
    assert not list(more_devices(scenario))


def test_sizes_that_the_graph_joins_are_offered(scenario: Scenario) -> None:
    """Up to eight nodes of eight devices, or of four; the deadline would have more of them too."""
    by_level = scenario.cluster.model_copy(update={"link_model": "levels"})
    asked = scenario.model_copy(update={"cluster": by_level})
    found = size(asked, finish_within=13 * 3600.0, devices=("h100-sxm-80gb", "gb200-nvl72"))
    most = {one.device: one.n_devices for one in found.options}
    assert most == {"h100-sxm-80gb": 64, "gb200-nvl72": 32}


@pytest.mark.parametrize("n_nodes", [1, 4, 8])
def test_what_fewer_nodes_are_asked_can_be_read(scenario: Scenario, n_nodes: int) -> None:
    fewer = on_fewer_nodes(scenario, n_nodes)
    assert Scenario.model_validate_json(fewer.model_dump_json()) == fewer


@pytest.mark.parametrize("fabric", ["ethernet-100g", "{base: fat-tree-400g, oversubscription: 4}"])
@pytest.mark.parametrize("device", ["h200", "b200"])
def test_another_device_is_what_the_user_gets_by_setting_it(device: str, fabric: str) -> None:
    scenario = scenario_from_flags(
        model="llama3-8b", cluster="h100-sxm:64", overrides=[f"cluster.fabric={fabric}"]
    )
    followed = with_overrides(scenario, [f"cluster.device={device}"])
    changed = with_device(scenario, device).cluster
    assert changed == followed.cluster
    assert changed.fabric == scenario.cluster.fabric


def test_another_device_on_a_drawn_fabric(scenario: Scenario) -> None:
    changed = with_device(scenario, "h200").cluster
    assert changed.fabric == scenario.cluster.fabric
    with pytest.raises(InputError, match="joins 8 nodes, and 16 are wanted"):
        with_device(scenario, "gb200")
