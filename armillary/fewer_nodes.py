"""The question of a scenario while some of its nodes are missing, and its best answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.spec.scenario import Scenario

if TYPE_CHECKING:
    from planner.result import SearchResult


def on_fewer_nodes(scenario: Scenario, n_nodes: int) -> Scenario:
    """Return the question of the same training on so many of the nodes.

    What counts devices is free, since there are fewer. Deadline and budget are those of the whole
    training, and recorded outages of the whole cluster: they are left out.
    """
    free = {"devices": None, "dp": None, "dp_replicate": None, "dp_shard": None}
    asked = scenario.reliability
    if not asked.random_failures:  # without them there has to be a replay
        none = {"profile": "none", "failures_per_device_day": None, "causes": (), "more_causes": ()}
        asked = asked.model_copy(update={**none, "random_failures": True})
    return scenario.model_copy(
        update={
            "cluster": scenario.cluster.model_copy(update={"n_nodes": n_nodes}),
            "limits": scenario.limits.model_copy(update=free),
            "goal": scenario.goal.model_copy(update={"finish_within": None, "budget": None}),
            "reliability": asked.model_copy(update={"spares": None, "replay": ()}),
        }
    )


def best_on_fewer_nodes(scenario: Scenario, n_nodes: int) -> SearchResult | None:
    """Return the best plan on so many of the nodes; None where none fits."""
    from planner.search import find_plans

    return find_plans(on_fewer_nodes(scenario, n_nodes), top=1)
