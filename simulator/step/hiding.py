"""How much data-parallel communication shows, in closed form.

What may hide runs beside compute, one collective at a time; the rest stands alone. Weights are
fetched one layer ahead; gradients of a layer are reduced beside the backward of the layer before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, PlanTable
from simulator.cost.step_costs import StepCosts
from simulator.step.stage_times import Unit, Units
from simulator.step.streams import STANDSTILL


@dataclass(frozen=True, slots=True)
class Hiding:
    """The share of communication that can disappear behind compute; shape (n,)."""

    share: FloatArray

    @classmethod
    def of(cls, costs: StepCosts) -> Hiding:
        """What may overlap, less what it takes from the compute beside it."""
        return cls((1.0 - costs.dp_contention) * costs.dp_overlap)

    @classmethod
    def of_gathers_once(cls, costs: StepCosts) -> Hiding:
        """The same for weights that are gathered once a step."""
        return cls((1.0 - costs.dp_contention) * costs.gather_once_overlap)

    def exposed_s(self, total_s: FloatArray, window_s: FloatArray) -> FloatArray:
        """Time that communication adds to `window_s` of compute beside it."""
        return total_s - np.minimum(self.share * total_s, window_s)

    def overhang_s(self, total_s: FloatArray, window_s: FloatArray) -> FloatArray:
        """The part of it that would have hidden in a longer window."""
        return np.maximum(self.share * total_s - window_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposedPasses:
    """What is added to the passes of every microbatch, per unit in the order of `Units.each`."""

    forward_s: tuple[FloatArray, ...]
    backward_s: tuple[FloatArray, ...]


def exposed_in_passes(costs: StepCosts, table: PlanTable, units: Units) -> ExposedPasses:
    """Gathers for every pass (ZeRO-3) and reductions for every microbatch, as far as they show."""
    hiding = Hiding.of(costs)
    gathers, reduces = costs.gather_every_pass, costs.reduce_every_microbatch
    layers = (units.dense, units.moe)
    edges = _Edges(costs, table, units)
    n_heads = 1.0 + units.model.n_mtp_layers  # passes through one set of weights
    return ExposedPasses(
        forward_s=(
            *(hiding.exposed_s(gathers * each.gather_s, each.forward_s) for each in layers),
            edges.embedding_forward_s(),
            edges.head_forward_s() / n_heads,
        ),
        backward_s=(
            *(
                hiding.exposed_s(gathers * each.gather_s + reduces * each.reduce_s, each.backward_s)
                for each in layers
            ),
            edges.embedding_backward_s(),
            edges.head_backward_s() / n_heads,
        ),
    )


class _Edges:
    """What embedding and head add to the layer beside which their weights are fetched."""

    def __init__(self, costs: StepCosts, table: PlanTable, units: Units) -> None:
        self.hiding = Hiding.of(costs)
        self.units = units
        self.gathers = costs.gather_every_pass
        self.reduces = costs.reduce_every_microbatch
        self.stays = table.schedule != SCHEDULES.index("gpipe")
        """Whether the head's weights stay from a forward pass to the backward that follows."""

    def embedding_forward_s(self) -> FloatArray:
        """Beside the layer before, where a forward follows a forward; else see the backward."""
        layer, edge = self.units.first_layer, self.units.embedding
        fetched_s = self._with_edge(layer, edge, layer.forward_s, edge.forward_s)
        return np.where(self.stays, 0.0, fetched_s)

    def embedding_backward_s(self) -> FloatArray:
        """Beside the first layer's backward: its reduction, the embedding's, and the weights of
        embedding and first layer for the backward and, where it follows, the next forward.
        """
        layer, edge = self.units.first_layer, self.units.embedding
        fetched_s = self._with_edge(layer, edge, layer.backward_s, edge.backward_s)
        return np.where(self.stays, self._embedding_in_turn_s(layer, edge), fetched_s)

    def _embedding_in_turn_s(self, layer: Unit, edge: Unit) -> FloatArray:
        own = self.gathers * layer.gather_s + self.reduces * layer.reduce_s
        more = 2.0 * self.gathers * edge.gather_s
        more = more + self.reduces * (layer.reduce_s + edge.reduce_s)
        window_s = layer.backward_s + edge.forward_s + edge.backward_s
        return self.hiding.exposed_s(own + more, window_s) - self.hiding.exposed_s(
            own, layer.backward_s
        )

    def head_forward_s(self) -> FloatArray:
        """Beside the last layer's forward: the head, then the last layer for its backward."""
        layer, edge = self.units.last_layer, self.units.head
        passes_s = edge.forward_s + self.stays * edge.backward_s
        return self._with_edge(layer, edge, layer.forward_s, passes_s)

    def head_backward_s(self) -> FloatArray:
        """Beside the last layer's backward: the head's reduction; the head again if it left."""
        layer, edge = self.units.last_layer, self.units.head
        own = self.gathers * layer.gather_s
        reduced_s = self.hiding.exposed_s(
            own + self.reduces * edge.reduce_s, layer.backward_s
        ) - self.hiding.exposed_s(own + self.reduces * layer.reduce_s, layer.backward_s)
        fetched_s = self._with_edge(layer, edge, layer.backward_s, edge.backward_s)
        return reduced_s + np.where(self.stays, 0.0, fetched_s)

    def _with_edge(
        self, layer: Unit, edge: Unit, window_s: FloatArray, edge_s: FloatArray
    ) -> FloatArray:
        """What an edge adds that is fetched before the next layer, in the same window."""
        own, more = self.gathers * layer.gather_s, self.gathers * edge.gather_s
        edge_late_s = self.hiding.overhang_s(more, window_s)
        both_late_s = self.hiding.overhang_s(own + more, window_s + edge_s)
        late_s = np.maximum(edge_late_s, both_late_s) - self.hiding.overhang_s(own, window_s)
        return (1.0 - self.hiding.share) * more + late_s


def exposed_once(costs: StepCosts, table: PlanTable, units: Units) -> FloatArray:
    """Reductions and gathers that happen once per step, as far as they show; shape (n,).

    Reductions run beside the backward of the last microbatch, gathers beside the forward of the
    first one. Weights that are gathered for every pass take their time from reductions too.
    """
    once_reduced = 1.0 - costs.reduce_every_microbatch
    once_gathered = 1.0 - costs.gather_every_pass
    busy = Hiding.of(costs).share * costs.gather_every_pass
    last_s = _shown_once(
        Hiding.of(costs),
        table,
        units,
        [once_reduced * unit.reduce_s for unit in units.each],
        [np.maximum(unit.backward_s - busy * unit.gather_s, 0.0) for unit in units.each],
    )
    first_s = _shown_once(
        Hiding.of_gathers_once(costs),
        table,
        units,
        [once_gathered * unit.gather_s for unit in units.each],
        [unit.forward_s for unit in units.each],
    )
    queued_s = _queueing_s(costs, table, units)
    return last_s + first_s + queued_s + _slowed_further_s(costs, table, units)


def _shown_once(
    hiding: Hiding,
    table: PlanTable,
    units: Units,
    totals_s: Sequence[FloatArray],
    passes_s: Sequence[FloatArray],
) -> FloatArray:
    """What shows of communication that begins as its unit has had, or must be there before, a pass.

    That of the outermost chunk has one pass over that chunk to hide behind, less the unit at its
    end; that of all v chunks also the passes of p microbatches over the v - 1 others. Stages
    further back start later and finish earlier, and have that time to spare.
    """
    share = hiding.share[:, None]
    pp, virtual = table.pp[:, None], table.virtual_stages[:, None]
    has_edge = units.stages.embedding
    nothing = 0.0 * share[:, 0]
    chunk_s = units.per_stage([*passes_s[:2], nothing, nothing]) / virtual
    all_s = units.per_stage(totals_s)
    outer_s = units.per_stage([*totals_s[:2], nothing, nothing]) / virtual
    outer_s = outer_s + has_edge * totals_s[2][:, None]
    layer = 1 if units.first_layer is units.moe else 0
    at_the_end_s = has_edge * totals_s[2][:, None] + np.maximum(
        totals_s[layer][:, None] - has_edge * passes_s[2][:, None], 0.0
    )
    late_s = np.maximum.reduce(
        [
            share * np.minimum(at_the_end_s, outer_s),
            share * outer_s - chunk_s,
            share * all_s - (1.0 + (virtual - 1.0) * pp) * chunk_s,
        ]
    )
    spare_s = units.stages.rank * chunk_s.max(axis=1)[:, None]
    shown_s: FloatArray = np.maximum((1.0 - share) * all_s + late_s - spare_s, 0.0).max(axis=1)
    return shown_s


def _slowed_further_s(costs: StepCosts, table: PlanTable, units: Units) -> FloatArray:
    """Compute that hidden traffic slows on the other stages, which the first forward and the last
    backward cross one after another.

    All stages gather from the start of the step on, and the first forward comes to each of them one
    stage later. Reductions of a stage begin when its last layer is done.
    """
    once_reduced = 1.0 - costs.reduce_every_microbatch
    once_gathered = 1.0 - costs.gather_every_pass
    stretch = 1.0 / np.maximum(1.0 - costs.dp_contention, STANDSTILL)
    n_layers = units.model.n_layers / table.n_chunks
    others = table.pp - 1.0
    reduced_s = once_reduced * costs.dp_overlap * units.mean_layer([u.reduce_s for u in units.each])
    backward_s = stretch * units.mean_layer([u.backward_s for u in units.each])
    beside_s = others * np.maximum(n_layers - 1.0, 0.0) * np.minimum(reduced_s, backward_s)
    gathered_s = costs.gather_once_overlap * units.mean_layer([u.gather_s for u in units.each])
    gathered_s = once_gathered * n_layers * table.virtual_stages * gathered_s
    forward_s = stretch * n_layers * units.mean_layer([u.forward_s for u in units.each])
    beside_s += np.clip(gathered_s - forward_s, 0.0, others * forward_s)
    slowed: FloatArray = costs.dp_contention * beside_s
    return slowed


def _queueing_s(costs: StepCosts, table: PlanTable, units: Units) -> FloatArray:
    """Weights of the last backward wait behind reductions; every further stage waits for that.

    The first two layers of a chunk do not: their weights are fetched before anything is reduced.
    """
    hiding = Hiding.of(costs)
    late_s = [
        hiding.overhang_s(unit.gather_s + unit.reduce_s, unit.backward_s)
        - hiding.overhang_s(unit.gather_s, unit.backward_s)
        for unit in (units.dense, units.moe)
    ]
    once = costs.gather_every_pass * (1.0 - costs.reduce_every_microbatch)
    n_waiting = np.maximum(units.model.n_layers / table.n_chunks - 2.0, 0.0)
    return once * (table.pp - 1.0) * n_waiting * units.mean_layer(late_s)
