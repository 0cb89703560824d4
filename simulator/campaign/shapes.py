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
    """The plan with fewer data-parallel copies, each of which takes more microbatches.

    Whole copies are left out under hybrid sharding, single shards where there is only one copy.
    Asks the step simulator once per number of copies.
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
        ranks_per_unit = plan.n_ranks // getattr(plan, axis)
        units = n_nodes * per_node // ranks_per_unit
        if units not in self._known:
            self._known[units] = self._shape(axis, units, ranks_per_unit)
        return self._known[units]

    def _shape(self, axis: str, units: int, ranks_per_unit: int) -> Shape | None:
        plan, job = self.plan, self.scenario.job
        copies = plan.dp // getattr(plan, axis) * units
        if copies == 0 or (copies * plan.cp * plan.tp) % plan.ep:
            return None
        microbatches = -(-job.batch_sequences // (copies * plan.microbatch_sequences))
        if plan.virtual_stages > 1:
            microbatches = -(-microbatches // plan.pp) * plan.pp
        smaller = plan.model_copy(update={axis: units, "n_microbatches": microbatches})
        batch = {"global_batch_sequences": smaller.batch_sequences, "global_batch_tokens": None}
        scenario = self.scenario.model_copy(update={"job": job.model_copy(update=batch)})
        step = predict_step(scenario, smaller)
        if step.memory_margin_bytes < 0:
            return None
        usual_s = predict_step(self.scenario, plan).step_s
        per_batch = step.step_s / usual_s * job.batch_sequences / smaller.batch_sequences
        n_nodes = -(-units * ranks_per_unit // self.scenario.cluster.devices_per_node)
        return Shape(n_nodes, self.full.step_s * per_batch)


Replanner = Callable[[Scenario, int], float | None]
"""Step time of the best plan for a scenario on so many nodes; None when nothing fits."""


@dataclass(slots=True)
class ReplannedShapes:
    """The best plan for what is left, by whoever plans."""

    scenario: Scenario
    full: Shape
    replan: Replanner
    _known: dict[int, Shape | None] = field(default_factory=dict)

    def best(self, n_nodes: int) -> Shape | None:
        """Return the best plan on exactly that many nodes."""
        if n_nodes >= self.full.n_nodes:
            return self.full
        if n_nodes not in self._known:
            step_s = self.replan(self.scenario, n_nodes) if n_nodes > 0 else None
            self._known[n_nodes] = None if step_s is None else Shape(n_nodes, step_s)
        return self._known[n_nodes]
