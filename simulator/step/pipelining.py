"""What a pipeline adds to its slowest stage, in closed form: idle time and transfers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable
from simulator.cost.stages import FIRST, LAST, MIDDLE
from simulator.cost.step_costs import StepCosts

GPIPE = SCHEDULES.index("gpipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """The stage that paces every plan, and how long it idles; arrays of shape (n,)."""

    stage: IntArray
    """Column of `StageLayers`."""
    bubble_s: FloatArray


def pace(
    table: PlanTable,
    rank: IntArray,
    forward_s: FloatArray,
    backward_s: FloatArray,
    all_s: FloatArray,
) -> Paced:
    """Return the slowest stage and its idle time.

    Parameters
    ----------
    rank, forward_s, backward_s
        Pipeline rank and pass times of the first, heaviest middle and last stage; shape (n, 3).
    all_s
        One microbatch through all stages and back; shape (n,).

    Notes
    -----
    A stage starts when one forward has come through the stages before it, and is done when one
    backward has gone back through them. In between it idles at most twice: for its first gradient,
    which crosses the stages behind while it runs forwards ahead, and for its last one, while it
    still has backwards to do. With even stages that is (p - 1) of p + m - 1 slots, 1 / v of it with
    v interleaved chunks per stage.
    """
    pp, virtual, n_micro = (
        column[:, None] for column in (table.pp, table.virtual_stages, table.n_microbatches)
    )
    stage_s = forward_s + backward_s
    others_s = np.maximum(all_s[:, None] - stage_s, 0.0)
    before_s = _before(table, rank, stage_s, all_s)
    behind_s = np.maximum(others_s - before_s, 0.0)
    ahead = np.minimum(n_micro, pp - rank) - 1
    first_s = np.maximum(behind_s - ahead * forward_s, 0.0)
    already_s = np.where(ahead == n_micro - 1, first_s, 0.0)
    last_s = np.maximum(behind_s - ahead * backward_s - already_s, 0.0)
    alternating = (virtual == 1) & (table.schedule != GPIPE)[:, None]
    idle_s = np.where(alternating, before_s + first_s + last_s, others_s / virtual) * (pp > 1)
    stage = (n_micro * stage_s + idle_s).argmax(axis=1)
    return Paced(stage=stage, bubble_s=idle_s[np.arange(len(stage)), stage])


def _before(table: PlanTable, rank: IntArray, stage_s: FloatArray, all_s: FloatArray) -> FloatArray:
    """One microbatch through the stages before the first, middle and last one, and back."""
    between_s = all_s - stage_s[:, FIRST] - stage_s[:, LAST]
    each_s = np.maximum(between_s, 0.0) / np.maximum(table.pp - 2, 1)
    before_middle_s = stage_s[:, FIRST] + np.maximum(rank[:, MIDDLE] - 1, 0) * each_s
    before_middle_s = np.where(table.pp > 2, before_middle_s, 0.0)
    return np.stack([np.zeros_like(all_s), before_middle_s, all_s - stage_s[:, LAST]], axis=1)


def transfers_s(costs: StepCosts, table: PlanTable, stage: IntArray) -> FloatArray:
    """Exposed transfers between stages, as the stage in each plan's column sees them.

    The share that blocks a rank counts for every chunk and microbatch. The share that runs
    beside compute is seen while the pipeline fills and drains; without interleaving also in every
    further round of p microbatches, because a stage may not run ahead of its turn.
    """
    pp, virtual, n_micro = table.pp, table.virtual_stages, table.n_microbatches
    at_an_end = (stage != MIDDLE) | (pp == 2)
    sent = 2.0 * virtual - at_an_end
    blocking = sent * (n_micro - 1.0 / virtual) + 2.0 * (pp - 1)
    rounds = np.where(table.schedule == GPIPE, 1, -(-n_micro // pp))
    hops = np.where(virtual > 1, pp * virtual - 1, (pp - 1) * rounds)
    beside = costs.p2p_overlap
    transfers: FloatArray = (1.0 - beside) * blocking + beside * 2.0 * hops
    return costs.p2p_s * (pp > 1) * transfers
