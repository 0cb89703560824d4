"""What no arrangement of a plan's work can undercut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
from simulator.cost.step_costs import EdgeCosts, LayerCosts, StepCosts
from simulator.spec.legality import schedule_column
from simulator.spec.model import ModelSpec
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFloor:
    """Lower bounds of step times, in seconds: `work_s` and a share of `fill_s`."""

    work_s: FloatArray
    """All microbatches through the slowest stage, which does at least the mean stage's work."""
    fill_s: FloatArray
    """The first and last microbatch through all other stages."""

    def take(self, rows: IntArray) -> StepFloor:
        """Return the rows of an index array."""
        return StepFloor(work_s=self.work_s[rows], fill_s=self.fill_s[rows])

    def with_fill(self, share: FloatArray) -> FloatArray:
        """Return the bounds for pipelines that idle at least this share of `fill_s`."""
        return self.work_s + self.fill_s * share


def fill_shares(table: PlanTable) -> FloatArray:
    """Return how much of `StepFloor.fill_s` every plan's schedule idles at least.

    Interleaving divides it; gradients of weights that are put off may fill it whole.
    """
    split = schedule_column(table.schedule, lambda traits: traits.splits_backward)
    return np.where(split, 0.0, 1.0 / table.virtual_stages)


def step_floor(costs: StepCosts, table: PlanTable, model: ModelSpec) -> StepFloor:
    """Return lower bounds that hold for every schedule and sharding of a plan's work.

    Passes of all layers and edges count with their exposed exchanges; transfers between stages,
    gradient reduction and the optimizer do not. With t the time of the mean stage and x that of the
    slowest, the closed form takes m x + (p t - x) / v at least, which grows with x; so x = t. With
    no more microbatches than stages the slower stages may hide behind each other, and the lightest
    stage stands for all.
    """
    dense = model.n_layers - model.n_moe_layers
    all_stages_s = (
        dense * passes_s(costs.dense)
        + model.n_moe_layers * passes_s(costs.moe)
        + passes_s(costs.embedding)
        + passes_s(costs.head)
    )
    lightest = model.n_layers // table.pp * table.pp / model.n_layers
    all_stages_s = all_stages_s * np.where(table.n_microbatches <= table.pp, lightest, 1.0)
    mean_s = all_stages_s / table.pp
    return StepFloor(
        work_s=costs.scale_factor * table.n_microbatches * mean_s + costs.step_constant_s,
        fill_s=costs.scale_factor * (all_stages_s - mean_s),
    )


def least_fill_shares(
    table: PlanTable, model: ModelSpec, schedules: Sequence[ScheduleName]
) -> FloatArray:
    """Return how much of `StepFloor.fill_s` the best of some schedules leaves."""
    traits = [SCHEDULE_TRAITS[name] for name in schedules]
    if any(each.splits_backward for each in traits):
        return np.zeros(len(table))
    whole_rounds = table.n_microbatches % table.pp == 0
    free = any(each.most_chunks > 1 and not each.whole_rounds for each in traits)
    looped = any(each.most_chunks > 1 for each in traits) & (whole_rounds | free)
    return 1.0 / np.where(looped, np.maximum(model.n_layers // table.pp, 1), 1)


def passes_s(part: LayerCosts | EdgeCosts) -> FloatArray:
    """Return how long all passes of a part of the model take over one microbatch."""
    seconds = part.forward.total_s + part.backward.total_s
    return seconds + part.recompute.total_s if isinstance(part, LayerCosts) else seconds
