"""The closed form of a training step: millions of plans at once.

A pipeline of p stages that do t each per microbatch takes m t and a bubble of (p - 1) t, or
(p - 1) t / v with v interleaved chunks per stage. Uneven stages: the slowest one paces, every
other one is crossed once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable
from simulator.cost.stages import MIDDLE, StageLayers
from simulator.cost.step_costs import EdgeCosts, LayerCosts, StepCosts
from simulator.spec.model import ModelSpec
from simulator.spec.prediction import StepBreakdown


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """One layer, embedding or head over one microbatch, as the critical path sees it."""

    parts_s: tuple[FloatArray, ...]
    """Forward, backward, recompute, tp, cp, ep, and the exposed gathers and reductions that happen
    for every microbatch."""
    total_s: FloatArray
    forward_s: FloatArray
    """Forward pass with its exchanges: what a gather can hide behind."""
    backward_s: FloatArray
    """Backward pass and recompute with their exchanges: what a reduction can hide behind."""
    reduce_s: FloatArray
    """Reduction once per step."""
    gather_s: FloatArray
    """Gathering once per step."""


def step_times(
    costs: StepCosts, table: PlanTable, model: ModelSpec, stages: StageLayers | None = None
) -> StepTimes:
    """Return the step time of every plan and its parts, which add up to it.

    `stages` replaces the even division of the layers.
    """
    if stages is None:
        stages = StageLayers.of(model, table)
    gpipe = table.schedule == SCHEDULES.index("gpipe")
    head = _unit(costs, costs.head, regather=1.0 * gpipe)
    units = [_unit(costs, costs.dense), _unit(costs, costs.embedding), head]
    counts = [stages.dense, stages.embedding, stages.heads]
    in_all = [_dense_layers(model), 1.0, 1.0 + model.n_mtp_layers]
    if model.moe is not None:
        units.append(_unit(costs, costs.moe))
        counts.append(stages.moe)
        in_all.append(model.n_layers + model.n_mtp_layers - in_all[0])
    pp, virtual, n_micro = table.pp, table.virtual_stages, table.n_microbatches
    stage_s = _over_stages(counts, [unit.total_s for unit in units])
    slowest = stage_s.argmax(axis=1)
    rows = np.arange(len(table))
    at_slowest = [count[rows, slowest] for count in counts]
    parts = [
        n_micro * _sum([n * unit.parts_s[i] for n, unit in zip(at_slowest, units, strict=True)])
        for i in range(len(units[0].parts_s))
    ]
    all_stages_s = _sum([n * unit.total_s for n, unit in zip(in_all, units, strict=True)])
    bubble_s = np.maximum(all_stages_s - stage_s[rows, slowest], 0.0) / virtual
    bubble_s = bubble_s * (pp > 1)
    forward_s, backward_s, recompute_s, tp_s, cp_s, ep_s, dp_s = parts
    dp_s = dp_s + _synchronisation_s(costs, table, stages, units, counts)
    pp_s = _transfers_s(costs, table, slowest)
    timed = forward_s + backward_s + recompute_s + tp_s + cp_s + ep_s + dp_s + bubble_s + pp_s
    timed = timed + costs.optimizer_s
    return StepTimes(
        forward_s=forward_s,
        backward_s=backward_s,
        recompute_s=recompute_s,
        tp_s=tp_s,
        cp_s=cp_s,
        ep_s=ep_s,
        pp_s=pp_s,
        dp_s=dp_s,
        bubble_s=bubble_s,
        optimizer_s=costs.optimizer_s,
        other_s=(costs.scale_factor - 1.0) * timed + costs.step_constant_s,
    )


def exposed_s(costs: StepCosts, total_s: FloatArray, window_s: FloatArray) -> FloatArray:
    """Time that communication adds when it may hide behind `window_s` of compute.

    The share that may hide either is the shorter one, and slows compute by its contention, or it is
    the longer one, and hides all compute.
    """
    return total_s - np.minimum((1.0 - costs.dp_contention) * costs.dp_overlap * total_s, window_s)


def _dense_layers(model: ModelSpec) -> float:
    dense = model.n_layers - model.n_moe_layers
    last_is_dense = not model.is_moe_layer(model.n_layers - 1)
    return float(dense + last_is_dense * model.n_mtp_layers)


def _over_stages(counts: list[FloatArray], values: list[FloatArray]) -> FloatArray:
    """Sum of units on the first, middle and last stage; shape (n, 3)."""
    return _sum([count * value[:, None] for count, value in zip(counts, values, strict=True)])


def _unit(
    costs: StepCosts, part: LayerCosts | EdgeCosts, regather: FloatArray | float = 1.0
) -> _Unit:
    """Return a unit; `regather` is 0 where weights stay from forward to backward pass."""
    forward, backward = part.forward, part.backward
    passes = [forward, backward]
    recompute_s = np.zeros_like(forward.compute_s)
    backward_s = backward.total_s
    if isinstance(part, LayerCosts):
        passes.append(part.recompute)
        recompute_s = part.recompute.compute_s
        backward_s = backward_s + part.recompute.total_s
    forward_s = forward.total_s
    gather_s = costs.gather_every_pass * part.gather_s
    reduce_s = costs.reduce_every_microbatch * part.reduce_s
    sync_s = exposed_s(costs, gather_s, forward_s)
    sync_s = sync_s + exposed_s(costs, regather * gather_s + reduce_s, backward_s)
    return _Unit(
        parts_s=(
            forward.compute_s,
            backward.compute_s,
            recompute_s,
            _sum([each.tp_s for each in passes]),
            _sum([each.cp_s for each in passes]),
            _sum([each.ep_s for each in passes]),
            sync_s,
        ),
        total_s=forward_s + backward_s + sync_s,
        forward_s=forward_s,
        backward_s=backward_s,
        reduce_s=part.reduce_s - reduce_s,
        gather_s=part.gather_s - gather_s,
    )


def _sum(arrays: list[FloatArray]) -> FloatArray:
    return functools.reduce(np.add, arrays)


def _transfers_s(costs: StepCosts, table: PlanTable, slowest: IntArray) -> FloatArray:
    """Exposed transfers between stages.

    The share that blocks the receiver counts for every chunk and microbatch. The share that runs
    beside compute is seen while the pipeline fills and drains; without interleaving also in every
    further round of p microbatches, because a stage may not run ahead of its turn.
    """
    pp, virtual, n_micro = table.pp, table.virtual_stages, table.n_microbatches
    at_an_end = (slowest != MIDDLE) | (pp == 2)
    received = 2.0 * virtual - at_an_end
    blocking = received * (n_micro - 1.0 / virtual) + 2.0 * (pp - 1)
    rounds = np.where(table.schedule == SCHEDULES.index("gpipe"), 1, -(-n_micro // pp))
    hops = np.where(virtual > 1, pp * virtual - 1, (pp - 1) * rounds)
    beside = costs.p2p_overlap
    transfers: FloatArray = (1.0 - beside) * blocking + beside * 2.0 * hops
    return costs.p2p_s * (pp > 1) * transfers


def _synchronisation_s(
    costs: StepCosts,
    table: PlanTable,
    stages: StageLayers,
    units: list[_Unit],
    counts: list[FloatArray],
) -> FloatArray:
    """Exposed reductions and gathers that happen once per step.

    Reductions hide behind the backward of the last microbatch; with interleaved chunks, which are
    done one after another, behind the last p microbatches of all chunks but one. Stages further
    back finish earlier, and have their last backward passes' time to spare.
    """
    virtual = table.virtual_stages[:, None]
    rounds = 1.0 + (virtual - 1.0) * table.pp[:, None] / virtual
    backward_s = _over_stages(counts, [unit.backward_s for unit in units])
    forward_s = _over_stages(counts, [unit.forward_s for unit in units])
    reduce_s = _over_stages(counts, [unit.reduce_s for unit in units])
    gather_s = _over_stages(counts, [unit.gather_s for unit in units])
    spare_s = stages.rank * backward_s.max(axis=1)[:, None] / virtual
    hidden = costs.dp_overlap[:, None]
    kept = 1.0 - costs.dp_contention[:, None]
    reduce_left_s = reduce_s - np.minimum(kept * hidden * reduce_s, rounds * backward_s)
    gather_left_s = gather_s - np.minimum(kept * hidden * gather_s, rounds * forward_s)
    last_s: FloatArray = np.maximum(reduce_left_s - spare_s, 0.0).max(axis=1)
    first_s: FloatArray = gather_left_s.max(axis=1)
    return last_s + first_s
