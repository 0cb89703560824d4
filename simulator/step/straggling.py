"""Slow devices and jitter in the steps of many plans, to first order: what the search ranks with.

Every pass takes as long as the slowest of the ranks that wait in it; a slow device paces its stage;
the step ends with the slowest pipeline column. `simulator.step.stragglers` does the same for one
plan on its time line.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.step_costs import EdgeCosts, LayerCosts, LayerTime, StepCosts
from simulator.spec.model import ModelSpec
from simulator.spec.stragglers import StragglerSpec
from simulator.step.closed_form import step_times
from simulator.step.meetings import Meetings, column_lag_s, expected_largest
from simulator.step.step_times import StepTimes


def straggling_times(
    costs: StepCosts, table: PlanTable, model: ModelSpec, spec: StragglerSpec
) -> StepTimes:
    """Return the step times with slow devices and jitter in them."""
    if spec == StragglerSpec():
        return step_times(costs, table, model)
    meetings = Meetings.of(table)
    paced = slower_computing(costs, 1.0 + spec.pass_jitter * expected_largest(meetings.n_together))
    times = step_times(paced, table, model)
    if spec.slow_devices and spec.slowdown > 1.0:
        everywhere = step_times(slower_computing(paced, spec.slowdown), table, model)
        share = _slow_share(times, paced, table, model, spec)
        times = times.towards(everywhere, share)
    lag_s = column_lag_s(times.computing_s, table, meetings, spec.pass_jitter)
    return replace(times, other_s=times.other_s + lag_s)


def _slow_share(
    times: StepTimes, costs: StepCosts, table: PlanTable, model: ModelSpec, spec: StragglerSpec
) -> FloatArray:
    """How much of what slow devices everywhere would cost a few of them do.

    One on the stage that paces the pipeline costs its passes, and not what fills the pipeline
    unless there are more of them in its column. One on another stage first uses up what that stage
    idles: it holds the mean of the layers.
    """
    meetings, per_stage = Meetings.of(table), 1.0 / table.pp
    paced_s = times.computing_s / table.n_microbatches
    mean_s = _model_computing_s(costs, model) * per_stage
    elsewhere = np.maximum(spec.slowdown * mean_s / paced_s - 1.0, 0.0) / (spec.slowdown - 1.0)
    hit = 1.0 - (1.0 - per_stage) ** spec.slow_devices
    in_column = np.maximum(spec.slow_devices / meetings.n_columns, 1.0)
    slow_stages = table.pp * (1.0 - (1.0 - per_stage) ** in_column)
    slots = table.n_microbatches * table.virtual_stages - 1.0
    share: FloatArray = hit + (1.0 - hit) * np.minimum(elsewhere, 1.0)
    return share * (slots + slow_stages) / (slots + table.pp)


def slower_computing(costs: StepCosts, factor: FloatArray | float) -> StepCosts:
    """Return a price list whose computing takes `factor` times as long; exchanges do not."""

    def slower(time: LayerTime) -> LayerTime:
        return replace(time, compute_s=time.compute_s * factor)

    def layer(part: LayerCosts) -> LayerCosts:
        forward, backward, recompute = map(slower, (part.forward, part.backward, part.recompute))
        return replace(part, forward=forward, backward=backward, recompute=recompute)

    def edge(part: EdgeCosts) -> EdgeCosts:
        return replace(part, forward=slower(part.forward), backward=slower(part.backward))

    return replace(
        costs,
        dense=layer(costs.dense),
        moe=layer(costs.moe),
        embedding=edge(costs.embedding),
        head=edge(costs.head),
    )


def _model_computing_s(costs: StepCosts, model: ModelSpec) -> FloatArray:
    """Computing of one microbatch on all stages together, in s."""
    n_dense = model.n_layers - model.n_moe_layers
    layers = ((n_dense, costs.dense), (model.n_moe_layers + model.n_mtp_layers, costs.moe))
    total_s = costs.embedding.forward.compute_s + costs.embedding.backward.compute_s
    head = costs.head
    total_s = total_s + (1 + model.n_mtp_layers) * (
        head.forward.compute_s + head.backward.compute_s
    )
    for count, part in layers:
        passes = (part.forward, part.backward, part.recompute)
        total_s = total_s + count * sum(each.compute_s for each in passes)
    return total_s
