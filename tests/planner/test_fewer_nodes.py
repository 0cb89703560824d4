"""The question of a scenario while some of its nodes are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.fewer_nodes import NewPlans, best_on_fewer_nodes, on_fewer_nodes
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.scenario import Scenario

SCENARIO = Path(__file__).parents[2] / "scenarios" / "first-light.yaml"
CLUSTER = "cluster={device: cpu, nodes: 4, devices_per_node: 1, fabric: ethernet-100g}"
FOUR_DEVICES = ("limits.devices=4", "limits.dp=4", "limits.dp_replicate=4", "limits.dp_shard=1")
IN_TIME = ("goal.finish_within=1s", "goal.budget=0.000001")
REPLAY = (
    "reliability.random_failures=false",
    "reliability.replay=[{node: 3, start_s: 5, end_s: 9}]",
)


def asked(*changes: str) -> Scenario:
    return load_scenario(SCENARIO, overrides=(CLUSTER, *changes))


@pytest.mark.parametrize("changes", [(), FOUR_DEVICES, IN_TIME, REPLAY])
def test_two_nodes_of_four_go_on(changes: tuple[str, ...]) -> None:
    """Limits of the whole cluster and goals of the whole training leave the same best plan."""
    found, plain = best_on_fewer_nodes(asked(*changes), 2), best_on_fewer_nodes(asked(), 2)
    assert found is not None
    assert plain is not None
    assert found.best.plan.n_ranks == 2
    assert found.best.prediction.step.step_s == plain.best.prediction.step.step_s
    assert NewPlans()(asked(*changes), 2) == plain.best.prediction.step.step_s


@pytest.mark.parametrize("changes", [(), FOUR_DEVICES, IN_TIME, REPLAY])
def test_it_is_a_scenario_that_can_be_read_again(changes: tuple[str, ...]) -> None:
    fewer = on_fewer_nodes(asked(*changes), 2)
    assert Scenario.model_validate_json(fewer.model_dump_json()) == fewer


def test_what_does_not_count_devices_is_kept() -> None:
    scenario = asked("limits.tp=2", "limits.recompute=full", "goal.minimize=cost")
    kept: Any = on_fewer_nodes(scenario, 2)
    assert (kept.limits.tp, kept.limits.recompute, kept.goal.minimize) == (2, "full", "cost")
    assert (kept.model, kept.job, kept.seed) == (scenario.model, scenario.job, scenario.seed)
