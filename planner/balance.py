"""Better plans inside a mesh: stages of unequal length, and only some layers recomputed.

The uniform plans of the mesh are taken up again, also those whose fullest stage does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from planner.bounds import fill_shares, passes_s
from planner.dealing import deal
from planner.pricing import Pricing
from planner.space import Space
from planner.sweep import MESH
from simulator.cost.memory import memory_held
from simulator.cost.plan_table import BoolArray, PlanTable
from simulator.cost.stages import StageLayers
from simulator.cost.step import price_step
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import count_of, parse_recompute, whole_of
from simulator.spec.scenario import Scenario
from simulator.step.closed_form import step_times

WORTH = 2e-3
"""Share of the step that another division has to promise."""
DEALT = 8
"""Uniform plans of a mesh whose layers are dealt anew, the fastest whether they fit or not."""
KEPT = 2
"""Better plans of a mesh that are worth a simulation."""
MORE_LAYERS = 3
"""A stage takes at most so many layers more than its even share."""
FULLEST = 1.5
"""Uniform plans that need more than so many times the memory are not dealt."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Finds better plans than the best uniform one of a mesh."""

    scenario: Scenario
    pricing: Pricing

    def better(self, plan: PlanSpec) -> tuple[PlanSpec, ...]:
        """Return plans of the same mesh that promise a shorter step than a uniform one, best first.

        Executors run them, and they fit in memory.
        """
        table = self._of_mesh(plan)
        now_s = float(self.pricing.steps(PlanTable.of([plan])).step_s[0]) * (1 - WORTH)
        found = [*self._partly_recomputed(table, now_s), *self._dealt(table, now_s)]
        found.sort(key=lambda each: each[0])
        by_step = {step_s: better for step_s, better in reversed(found) if self._runs(better)}
        return tuple(by_step[step_s] for step_s in sorted(by_step))[:KEPT]

    def _of_mesh(self, plan: PlanSpec) -> PlanTable:
        """Return all uniform plans of a mesh, with any number of layers recomputed."""
        limits = self.scenario.limits
        longest = -(-self.scenario.model.n_layers // plan.pp)
        kinds = [kind.name for kind in Space.of(self.scenario).recomputes]
        if limits.recompute is None:
            kinds += [f"first-{count}" for count in range(1, longest)]
        pinned = {axis: getattr(plan, axis) for axis in MESH}
        pinned["recompute"] = tuple(dict.fromkeys(kinds))
        limited = limits.model_copy(update=pinned)
        tables = Space.of(self.scenario.model_copy(update={"limits": limited})).tables()
        return reduce(PlanTable.joined, tables)

    def _partly_recomputed(self, table: PlanTable, now_s: float) -> list[tuple[float, PlanSpec]]:
        """Return plans that recompute the first layers of their chunks, with their steps."""
        some = table.take(np.asarray(whole_of(table.recompute)) == _FIRST)
        some = self._fitting(some)
        if len(some) == 0:
            return []
        steps_s = self.pricing.steps(some).step_s
        rows = np.argsort(steps_s, kind="stable")[:KEPT]
        return [
            (float(steps_s[row]), self._plan(some, row)) for row in rows if steps_s[row] < now_s
        ]

    def _fitting(self, table: PlanTable) -> PlanTable:
        if len(table) == 0:
            return table
        return table.take(self.pricing.peak_bytes(table) <= self.pricing.allowed_bytes)

    def _dealt(self, table: PlanTable, now_s: float) -> list[tuple[float, PlanSpec]]:
        """Return plans with their layers dealt anew, with their steps.

        Those in which layers are alike: what some layers repeat is priced for even chunks only.
        """
        alike = (np.asarray(count_of(table.recompute)) <= 1) & (table.pp > 1)
        table = table.take(alike)
        if len(table) == 0:
            return []
        floor_s = self.pricing.floor(table).with_fill(fill_shares(table))
        near = self.pricing.peak_bytes(table) <= FULLEST * self.pricing.allowed_bytes
        table = table.take(near & (floor_s < now_s))
        if len(table) == 0:
            return []
        fastest = np.argsort(self.pricing.steps(table).step_s, kind="stable")[:DEALT]
        dealt = [self._deal_one(table.take(np.array([row]))) for row in fastest]
        return [each for each in dealt if each is not None and each[0] < now_s]

    def _deal_one(self, table: PlanTable) -> tuple[float, PlanSpec] | None:
        """Return one plan with its layers dealt best, and its step; None where nothing fits."""
        scenario, model = self.scenario, self.scenario.model
        software, job = self.pricing.software, scenario.job
        costs = price_step(model, scenario.cluster, job, software, table)
        n_chunks = int(table.n_chunks[0])
        edge_s = np.zeros(n_chunks)
        moe = np.array([model.is_moe_layer(layer) for layer in range(model.n_layers)])
        layer_s = np.where(moe, passes_s(costs.moe), passes_s(costs.dense))
        edge_s[:1] += passes_s(costs.embedding)
        edge_s[-1:] += (1 + model.n_mtp_layers) * passes_s(costs.head)
        edge_s[-1] += model.n_mtp_layers * layer_s[-1]
        division = deal(layer_s, edge_s, self._fits(table, moe))
        if division is None:
            return None
        plan = self._plan(table, 0).model_copy(update={"layers_per_chunk": division})
        stages = StageLayers.all_of_plan(model, plan)
        held = memory_held(model, scenario.cluster, job, software, table, stages)
        if held.peak_bytes[0] > self.pricing.allowed_bytes:
            return None
        return float(step_times(costs, table, model, division).step_s[0]), plan

    def _fits(self, table: PlanTable, moe: BoolArray) -> BoolArray:
        """Return whether chunk c has room for the l layers from layer a on: (c, a, l).

        Where a rank has several chunks it is the whole division that fits or not.
        """
        model, n_chunks = self.scenario.model, int(table.n_chunks[0])
        most = min(-(-model.n_layers // n_chunks) + MORE_LAYERS, model.n_layers)
        shape = (n_chunks, model.n_layers + 1, most + 1)
        if table.virtual_stages[0] > 1:
            return np.ones(shape, dtype=np.bool_)
        first, count = (each.ravel() for each in np.indices(shape[1:]))
        until = np.concatenate([[0], np.cumsum(moe)])
        n_moe = until[np.minimum(first + count, model.n_layers)] - until[first]
        rank = np.broadcast_to(np.arange(n_chunks), (len(first), n_chunks))
        last = rank == n_chunks - 1
        beyond = model.n_mtp_layers * last
        stages = StageLayers(
            dense=(count - n_moe)[:, None] + beyond * (not moe[-1]) + 0.0,
            moe=n_moe[:, None] + beyond * moe[-1] + 0.0,
            embedding=1.0 * (rank == 0),
            heads=(1.0 + model.n_mtp_layers) * last,
            rank=rank,
            last_alike=rank,
        )
        many = table.take(np.zeros(len(first), dtype=np.intp))
        scenario, software = self.scenario, self.pricing.software
        held = memory_held(model, scenario.cluster, scenario.job, software, many, stages)
        fits: BoolArray = held.stage_bytes.T.reshape(shape) <= self.pricing.allowed_bytes
        return fits

    def _plan(self, table: PlanTable, row: int) -> PlanSpec:
        return table.plan(row, self.scenario.job.precision)

    def _runs(self, plan: PlanSpec) -> bool:
        model, job = self.scenario.model, self.scenario.job
        targets = Space.of(self.scenario).targets
        return any(
            (target.own_division or not plan.layers_per_chunk)
            and target.refusal(model, job, plan) is None
            for target in targets
        )


_FIRST = whole_of(parse_recompute("first-1").code)
