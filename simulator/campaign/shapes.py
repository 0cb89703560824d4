"""What a job can go on with when nodes are missing: the same plan with fewer copies, or another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step


@dataclass(frozen=True, slots=True)
class Shape:
    """A way to run the job on some of its nodes."""

    n_nodes: int
    step_s: float
    """Time per step of the job's own batch, whatever batch the shape really takes."""


class Shapes(Protocol):
    """The best shape by the number of nodes."""

    def best(self, n_nodes: int) -> Shape | None:
        """Return the shape for at most that many nodes, or None when none can run."""


@dataclass(slots=True)
class FixedShape:
    """All nodes or nothing."""

    full: Shape

    def best(self, n_nodes: int) -> Shape | None:
        """Return the whole job where there are enough nodes."""
        return self.full if n_nodes >= self.full.n_nodes else None


@dataclass(slots=True)
class ShrunkShapes:
    """The plan with fewer data-parallel copies.

    Those that are left do the work of all: a step takes as many times longer as there are fewer of
    them, whether they take more microbatches or the batch is smaller meanwhile. Whole copies are
    left out under hybrid sharding, single shards where there is only one copy.
    """

    scenario: Scenario
    plan: PlanSpec
    full: Shape
    _known: dict[int, Shape | None] = field(default_factory=dict)

    def best(self, n_nodes: int) -> Shape | None:
        """Return the largest shape on at most that many nodes."""
        if n_nodes >= self.full.n_nodes:
            return self.full
        plan, per_node = self.plan, self.scenario.cluster.devices_per_node
        axis = "dp_shard" if plan.dp_replicate == 1 else "dp_replicate"
        whole: int = getattr(plan, axis)
        ranks_per_unit = plan.n_ranks // whole
        units = n_nodes * per_node // ranks_per_unit
        if units not in self._known:
            smaller = plan.model_copy(update={axis: units})
            shape = Shape(
                -(-units * ranks_per_unit // per_node), self.full.step_s * whole / max(units, 1)
            )
            self._known[units] = shape if units > 0 and self._fits(smaller) else None
        return self._known[units]

    def _fits(self, smaller: PlanSpec) -> bool:
        if (smaller.dp * smaller.cp * smaller.tp) % smaller.ep:
            return False
        batch = {"global_batch_sequences": smaller.batch_sequences, "global_batch_tokens": None}
        job = self.scenario.job.model_copy(update=batch)
        scenario = self.scenario.model_copy(update={"job": job})
        return predict_step(scenario, smaller).memory_margin_bytes >= 0


BestOnFewer = Callable[[int], Shape | None]
"""The best shape on so many nodes of a job; None when none can run."""

Replanner = Callable[[Scenario, int], float | None]
"""Step time of the best plan for a scenario on so many nodes; None when nothing fits."""


@dataclass(slots=True)
class ReplannedShapes:
    """The best plan for what is left, by whoever plans."""

    scenario: Scenario
    full: Shape
    replan: Replanner
    slowdown: float
    """Of every step over one on healthy devices."""
    stall_s: float
    """Wait of every step for its data."""
    _known: dict[int, Shape | None] = field(default_factory=dict)

    def best(self, n_nodes: int) -> Shape | None:
        """Return the best plan on at most that many nodes and more than half of them.

        On more nodes there may be no legal plan where there is one on fewer.
        """
        if n_nodes >= self.full.n_nodes:
            return self.full
        tried = (self._exactly(fewer) for fewer in range(n_nodes, n_nodes // 2, -1))
        return next((shape for shape in tried if shape is not None), None)

    def _exactly(self, n_nodes: int) -> Shape | None:
        if n_nodes not in self._known:
            step_s = self.replan(self.scenario, n_nodes)
            longer_s = None if step_s is None else step_s * self.slowdown + self.stall_s
            self._known[n_nodes] = None if longer_s is None else Shape(n_nodes, longer_s)
        return self._known[n_nodes]
