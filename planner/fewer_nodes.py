"""The question of a scenario while some of its nodes are missing, and its best answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planner.changes import of_nodes
from simulator.spec.errors import InputError
from simulator.spec.scenario import Scenario

if TYPE_CHECKING:
    from planner.result import SearchResult


def on_fewer_nodes(scenario: Scenario, n_nodes: int) -> Scenario:
    """Return the question of the same training on so many of the nodes.

    What counts devices is free, since there are fewer. Deadline and budget are those of the whole
    training, and recorded outages of the whole cluster: they are left out. Raises InputError where
    the graph of a fabric does not join so many nodes without the others.
    """
    cluster = scenario.cluster
    free = {"devices": None, "dp": None, "dp_replicate": None, "dp_shard": None}
    none_spare = {"spares": None, "spare_pools": (), "replay": ()}
    asked = scenario.reliability
    if not asked.random_failures:  # without them there has to be a replay
        none = {"profile": "none", "failures_per_device_day": None, "causes": (), "more_causes": ()}
        asked = asked.model_copy(update={**none, "random_failures": True})
    return scenario.model_copy(
        update={
            "cluster": of_nodes(cluster, n_nodes, cluster.devices_per_node),
            "limits": scenario.limits.model_copy(update=free),
            "goal": scenario.goal.model_copy(update={"finish_within": None, "budget": None}),
            "reliability": asked.model_copy(update=none_spare),
        }
    )


def best_on_fewer_nodes(scenario: Scenario, n_nodes: int) -> SearchResult | None:
    """Return the best plan on so many of the nodes; None where none fits."""
    from planner.search import find_plans

    try:
        fewer = on_fewer_nodes(scenario, n_nodes)
    except InputError:  # nothing joins them without the others
        return None
    return find_plans(fewer, top=1)


@dataclass(frozen=True, slots=True)
class NewPlans:
    """Plans anew for the nodes that are left, once for every number of them."""

    _known: dict[int, float | None] = field(default_factory=dict)

    def __call__(self, scenario: Scenario, n_nodes: int) -> float | None:
        """Return the step time of the best plan on so many nodes; None where none fits.

        What the scenario says about spares and recovery does not matter, so that one memory serves
        all plans of a search.
        """
        if n_nodes not in self._known:
            found = best_on_fewer_nodes(scenario, n_nodes)
            self._known[n_nodes] = None if found is None else found.best.prediction.step.fed_step_s
        return self._known[n_nodes]
