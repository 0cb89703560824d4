"""The closed form of a training step: millions of plans at once.

The slowest stage does its work for every microbatch; to that come the idle time of the pipeline,
transfers between stages, and what shows of the data-parallel communication.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.stages import StageLayers
from simulator.cost.step_costs import StepCosts
from simulator.spec.model import ModelSpec
from simulator.spec.prediction import StepBreakdown
from simulator.step.hiding import exposed_in_passes, exposed_once
from simulator.step.pipelining import pace, transfers_s
from simulator.step.stage_times import Units, add


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Where the time of a step goes, as `StepBreakdown` has it; arrays of shape (n,)."""

    forward_s: FloatArray
    backward_s: FloatArray
    recompute_s: FloatArray
    tp_s: FloatArray
    cp_s: FloatArray
    ep_s: FloatArray
    pp_s: FloatArray
    dp_s: FloatArray
    bubble_s: FloatArray
    optimizer_s: FloatArray
    other_s: FloatArray

    @property
    def step_s(self) -> FloatArray:
        """The step time: the sum of all parts."""
        total: FloatArray = sum(getattr(self, field.name) for field in fields(self))
        return total

    def breakdown(self, row: int) -> StepBreakdown:
        """Return the parts of one plan."""
        return StepBreakdown(
            **{field.name: float(getattr(self, field.name)[row]) for field in fields(self)}
        )


def step_times(
    costs: StepCosts, table: PlanTable, model: ModelSpec, stages: StageLayers | None = None
) -> StepTimes:
    """Return the step time of every plan and its parts, which add up to it.

    `stages` replaces the even division of the layers.
    """
    units = Units.of(costs, model, StageLayers.of(model, table) if stages is None else stages)
    exposed = exposed_in_passes(costs, table, units)
    forward_s = [u.forward_s + s for u, s in zip(units.each, exposed.forward_s, strict=True)]
    backward_s = [u.backward_s + s for u, s in zip(units.each, exposed.backward_s, strict=True)]
    paced = pace(table, units, forward_s, backward_s)
    n_micro, rows = table.n_microbatches, np.arange(len(table))
    exposed_s = units.per_stage(exposed.forward_s) + units.per_stage(exposed.backward_s)
    forward, backward, recompute, tp, cp, ep = (n_micro * s for s in units.parts_at(paced.stage))
    dp = n_micro * exposed_s[rows, paced.stage] + exposed_once(costs, table, units)
    pp = transfers_s(costs, table, paced)
    timed = [forward, backward, recompute, tp, cp, ep, pp, dp, paced.bubble_s, costs.optimizer_s]
    return StepTimes(
        forward_s=forward,
        backward_s=backward,
        recompute_s=recompute,
        tp_s=tp,
        cp_s=cp,
        ep_s=ep,
        pp_s=pp,
        dp_s=dp,
        bubble_s=paced.bubble_s,
        optimizer_s=costs.optimizer_s,
        other_s=(costs.scale_factor - 1.0) * add(timed) + costs.step_constant_s,
    )
