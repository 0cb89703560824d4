"""The closed form of a training step: millions of plans at once.

The slowest stage does its work for every microbatch; to that come the idle time of the pipeline,
transfers between stages, and what shows of the data-parallel communication.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from simulator.cost.plan_table import SCHEDULES, PlanTable
from simulator.cost.stages import StageLayers
from simulator.cost.step_costs import StepCosts
from simulator.cost.unique import spread
from simulator.spec.model import ModelSpec
from simulator.step.hiding import exposed_in_passes, exposed_once
from simulator.step.pipelining import pace, transfers_s
from simulator.step.recurrence import recurrence_times
from simulator.step.stage_times import Units, add
from simulator.step.step_times import StepTimes

WITH_FORMULA = ("gpipe", "1f1b", "interleaved-1f1b")


def step_times(
    costs: StepCosts, table: PlanTable, model: ModelSpec, division: Sequence[int] | None = None
) -> StepTimes:
    """Return the step time of every plan and its parts, which add up to it.

    Schedules without a formula are replayed (`simulator.step.recurrence`), a few rounds only since
    there are many plans. `division` replaces the even division of the layers over chunks; then all
    plans have as many chunks.
    """
    formula = np.isin(table.schedule, [SCHEDULES.index(name) for name in WITH_FORMULA])
    if formula.all():
        return formula_times(costs, table, model, division)
    merged = StepTimes.nothing(len(table))
    few_rounds = partial(recurrence_times, enough_passes=0)
    for times, mask in ((formula_times, formula), (few_rounds, ~formula)):
        rows = np.flatnonzero(mask)
        if len(rows):
            merged.put(rows, times(spread(costs, rows), table.take(rows), model, division))
    return merged


def formula_times(
    costs: StepCosts, table: PlanTable, model: ModelSpec, division: Sequence[int] | None = None
) -> StepTimes:
    """Return the step times of GPipe, 1F1B and interleaved 1F1B by their formulas."""
    if division is None:
        stages = StageLayers.of(model, table)
    else:
        stages = StageLayers.of_division(model, table, tuple(division))
    units = Units.of(costs, model, stages)
    exposed = exposed_in_passes(costs, table, units)
    forward_s = [u.forward_s + s for u, s in zip(units.each, exposed.forward_s, strict=True)]
    backward_s = [u.backward_s + s for u, s in zip(units.each, exposed.backward_s, strict=True)]
    paced = pace(costs, table, units, forward_s, backward_s)
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
