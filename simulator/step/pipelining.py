"""What a pipeline adds to its slowest stage, in closed form: idle time and transfers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable
from simulator.cost.stages import FIRST, LAST, MIDDLE
from simulator.cost.step_costs import StepCosts
from simulator.step.stage_times import Units

GPIPE = SCHEDULES.index("gpipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """The stage that paces every plan, and how long it idles; arrays of shape (n,)."""

    stage: IntArray
    """Column of `StageLayers`."""
    bubble_s: FloatArray
    slack_s: FloatArray
    """How much less the mean stage does per microbatch."""


def pace(
    costs: StepCosts,
    table: PlanTable,
    units: Units,
    forward_s: Sequence[FloatArray],
    backward_s: Sequence[FloatArray],
) -> Paced:
    """Return the slowest stage and its idle time, from the passes of every unit.

    Notes
    -----
    A stage starts when one forward has come through the stages before it, and is done when one
    backward has gone back through them. In between it idles at most twice: for its first gradient,
    which crosses the stages behind while it runs forwards ahead, and for its last one, while it
    still has backwards to do. With even stages that is p - 1 of m + p - 1 slots.

    With interleaved chunks the stages before it are crossed in their first chunks and those behind
    it in their last ones: 1 / v of that.
    """
    virtual, n_micro = table.virtual_stages[:, None], table.n_microbatches[:, None]
    forward, backward = units.per_stage(forward_s), units.per_stage(backward_s)
    stage_s = forward + backward
    both_s = [there_s + back_s for there_s, back_s in zip(forward_s, backward_s, strict=True)]
    before_s, behind_s = _crossed(table, units, both_s)
    ahead = np.minimum(n_micro, table.pp[:, None] - units.stages.last_alike) - 1
    first_s = np.maximum(behind_s - ahead * forward, 0.0)
    already_s = np.where(ahead == n_micro - 1, first_s, 0.0)
    last_s = np.maximum(behind_s - ahead * backward - already_s, 0.0)
    alternating = (virtual == 1) & (table.schedule != GPIPE)[:, None]
    idle_s = before_s + np.where(alternating, first_s + last_s, behind_s)
    sent_s = _blocking_s(costs)[:, None] * _sent(table)
    stage = (n_micro * (stage_s + sent_s) + idle_s).argmax(axis=1)
    rows = np.arange(len(stage))
    mean_s = (units.mean_layer(both_s) * units.model.n_layers + both_s[2]) / table.pp
    mean_s = mean_s + units.at_the_end(both_s) / table.pp
    # All forwards, then all backwards: one stage may pace those and another one these.
    apart_s = forward.max(axis=1) + backward.max(axis=1) - stage_s[rows, stage]
    one_round = (table.virtual_stages > 1) & (table.n_microbatches <= table.pp)
    rows_apart_s = np.maximum(_rows_s(table, units, both_s) - stage_s[rows, stage], 0.0)
    apart_s = np.select([table.schedule == GPIPE, one_round], [apart_s, rows_apart_s], 0.0)
    apart_s = (table.n_microbatches - 1) * apart_s
    return Paced(
        stage=stage,
        bubble_s=idle_s[rows, stage] + apart_s,
        slack_s=np.maximum(stage_s[rows, stage] - mean_s, 0.0),
    )


def _rows_s(table: PlanTable, units: Units, both_s: Sequence[FloatArray]) -> FloatArray:
    """One microbatch through the heaviest chunk of every row of chunks, each on its own stage.

    With a single round of microbatches a row is done before the next one begins: the first stage
    paces those with a layer more, the last one the row that ends with the head.
    """
    in_last_row = (units.model.n_layers % table.n_chunks) > (table.virtual_stages - 1) * table.pp
    layer_s = units.mean_layer(both_s)
    first_s = units.per_stage(both_s)[:, FIRST]
    rows_s: FloatArray = first_s + np.maximum(units.at_the_end(both_s) - in_last_row * layer_s, 0.0)
    return rows_s


def _crossed(
    table: PlanTable, units: Units, both_s: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """One microbatch there and back: in the first chunks of the stages before each of the three,
    and in the last chunks of the stages behind it; shape (n, 3). Layers are evenly divided.
    """
    rank, n_chunks = units.stages.last_alike, table.n_chunks[:, None]
    base, extra = np.divmod(units.model.n_layers, n_chunks)

    def layers_until(chunk: IntArray) -> IntArray:
        return chunk * base + np.minimum(chunk, extra)

    after = n_chunks - table.pp[:, None] + rank + 1
    layer_s = units.mean_layer(both_s)[:, None]
    before_s = layers_until(rank) * layer_s + (rank > 0) * both_s[2][:, None]
    behind_s = (layers_until(n_chunks) - layers_until(after)) * layer_s
    return before_s, behind_s + (after < n_chunks) * units.at_the_end(both_s)[:, None]


def transfers_s(costs: StepCosts, table: PlanTable, paced: Paced) -> FloatArray:
    """Exposed transfers between stages, as the slowest stage sees them.

    The share that blocks a rank counts for every chunk and microbatch. The share that runs beside
    compute is seen while the pipeline fills and drains; without interleaving also in every further
    round of p microbatches, because a stage may not run ahead of its turn, unless the others have
    the time to spare.
    """
    pp, virtual, n_micro = table.pp, table.virtual_stages, table.n_microbatches
    sent = _sent(table)[np.arange(len(table)), paced.stage]
    blocking_s = _blocking_s(costs)
    beside_s = costs.p2p_overlap * costs.p2p_s
    further = np.where((table.schedule == GPIPE) | (virtual > 1), 0, -(-n_micro // pp) - 1)
    in_turn_s = further * np.maximum(2.0 * (pp - 1) * beside_s - pp * paced.slack_s, 0.0)
    blocked_s = blocking_s * (sent * (n_micro - 1.0 / virtual) + 2.0 * (pp - 1))
    filling_s = beside_s * 2.0 * np.where(virtual > 1, pp * virtual - 1, pp - 1)
    transfers: FloatArray = (pp > 1) * (blocked_s + filling_s + in_turn_s)
    return transfers


def _blocking_s(costs: StepCosts) -> FloatArray:
    """What a transfer takes of its sender's compute."""
    blocking_s: FloatArray = (1.0 - costs.p2p_overlap) * costs.p2p_s
    return blocking_s


def _sent(table: PlanTable) -> FloatArray:
    """Transfers of a stage for one microbatch; shape (n, 3)."""
    sent = np.tile(2.0 * table.virtual_stages[:, None], 3)
    sent[:, [FIRST, LAST]] -= 1.0
    sent[:, MIDDLE] -= table.pp == 2
    transfers: FloatArray = np.where(table.pp[:, None] > 1, sent, 0.0)
    return transfers
