"""What one pipeline chunk costs: the step's price list applied to its layers.

Of one plan as plain numbers, or of many plans that divide the layers alike as arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from simulator.cost.step_costs import EdgeCosts, LayerCosts, LayerTime, StepCosts
from simulator.schedule import Kind
from simulator.spec.model import ModelSpec
from simulator.step.moments import Moment, ever, plain

WEIGHT_GRADIENT_SHARE = 0.5
"""Of the computing in a backward pass, what a schedule may put off: half of its GEMM FLOPs."""


class PassParts(NamedTuple):
    """Where the time of some passes goes, in seconds."""

    forward_s: Moment = 0.0
    backward_s: Moment = 0.0
    recompute_s: Moment = 0.0
    tp_s: Moment = 0.0
    cp_s: Moment = 0.0
    ep_s: Moment = 0.0

    @property
    def total_s(self) -> Moment:
        """Time on the compute stream."""
        return sum(self)

    def times(self, count: float) -> PassParts:
        """Return the parts of `count` such passes."""
        return PassParts(*(part * count for part in self))

    def slower(self, factor: float) -> PassParts:
        """Return the parts of a pass whose computing takes `factor` times as long."""
        return self._replace(
            forward_s=self.forward_s * factor,
            backward_s=self.backward_s * factor,
            recompute_s=self.recompute_s * factor,
        )


def add_parts(many: Iterable[PassParts]) -> PassParts:
    """Return the sum, part by part."""
    return PassParts(*(sum(column) for column in zip(PassParts(), *many, strict=True)))


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer, the embedding or the head: computed, gathered and reduced as one."""

    name: str
    forward: PassParts
    backward: PassParts
    """Recompute included."""
    durations: Mapping[Kind, Moment]
    """Time of every kind of pass."""
    reduce_s: Moment
    gather_s: Moment
    is_layer: bool


@dataclass(frozen=True, slots=True)
class ChunkCosts:
    """The units of one chunk in model order, and their sums."""

    units: tuple[Unit, ...]
    forward: PassParts
    backward: PassParts
    durations: Mapping[Kind, Moment]
    reduce_s: Moment
    gather_s: Moment
    reduces: bool
    """Whether anything is reduced."""


def chunk_costs(
    costs: StepCosts, chunk_layers: Sequence[int], model: ModelSpec
) -> tuple[ChunkCosts, ...]:
    """Return the costs of every chunk in model order; of `costs` with one row as plain numbers.

    The embedding belongs to the first chunk; the head, with the layers and heads that predict
    further tokens, to the last one.
    """
    kinds = {False: _layer(costs.dense), True: _layer(costs.moe)}
    layers = [
        replace(kinds[model.is_moe_layer(min(layer, model.n_layers - 1))], name=f"layer {layer}")
        for layer in range(model.n_layers + model.n_mtp_layers)
    ]
    head = _edge("head", costs.head, passes=1 + model.n_mtp_layers)
    chunks: list[ChunkCosts] = []
    first_layer = 0
    for chunk, n_layers in enumerate(chunk_layers):
        units = layers[first_layer : first_layer + n_layers]
        first_layer += n_layers
        if chunk == 0:
            units = [_edge("embedding", costs.embedding), *units]
        if chunk == len(chunk_layers) - 1:
            units = [*units, *layers[model.n_layers :], head]
        chunks.append(_sum_units(units))
    return tuple(chunks)


def slower(costs: ChunkCosts, factor: float) -> ChunkCosts:
    """Return a chunk whose computing takes `factor` times as long; what it exchanges does not."""
    return _sum_units([_slower_unit(unit, factor) for unit in costs.units])


def _slower_unit(unit: Unit, factor: float) -> Unit:
    forward, backward = unit.forward.slower(factor), unit.backward.slower(factor)
    return replace(
        unit, forward=forward, backward=backward, durations=_durations(forward, backward)
    )


def _durations(forward: PassParts, backward: PassParts) -> dict[Kind, Moment]:
    """Return the time of every kind of pass; I is all of a backward but the weight gradients."""
    weights_s = WEIGHT_GRADIENT_SHARE * backward.backward_s
    return {
        "F": forward.total_s,
        "B": backward.total_s,
        "I": backward.total_s - weights_s,
        "W": weights_s,
    }


def _unit(
    name: str, forward: PassParts, backward: PassParts, costs: LayerCosts | EdgeCosts
) -> Unit:
    return Unit(
        name=name,
        forward=forward,
        backward=backward,
        durations=_durations(forward, backward),
        reduce_s=plain(costs.reduce_s),
        gather_s=plain(costs.gather_s),
        is_layer=isinstance(costs, LayerCosts),
    )


def _layer(costs: LayerCosts) -> Unit:
    """Return the unit that all layers of one kind share, but for the name."""
    recompute = _backward(costs.recompute)
    backward = add_parts(
        (
            _backward(costs.backward),
            recompute._replace(backward_s=0.0, recompute_s=recompute.backward_s),
        )
    )
    return _unit("layer", _forward(costs.forward), backward, costs)


def _edge(name: str, costs: EdgeCosts, *, passes: int = 1) -> Unit:
    """Return an edge that is passed through several times per microbatch."""
    forward, backward = _forward(costs.forward), _backward(costs.backward)
    return _unit(name, forward.times(passes), backward.times(passes), costs)


def _sum_units(units: Sequence[Unit]) -> ChunkCosts:
    forward = add_parts(unit.forward for unit in units)
    backward = add_parts(unit.backward for unit in units)
    reduce_s: Moment = sum(unit.reduce_s for unit in units)
    return ChunkCosts(
        units=tuple(units),
        forward=forward,
        backward=backward,
        durations=_durations(forward, backward),
        reduce_s=reduce_s,
        gather_s=sum(unit.gather_s for unit in units),
        reduces=ever(reduce_s),
    )


def _forward(time: LayerTime) -> PassParts:
    return PassParts(
        forward_s=plain(time.compute_s),
        tp_s=plain(time.tp_s),
        cp_s=plain(time.cp_s),
        ep_s=plain(time.ep_s),
    )


def _backward(time: LayerTime) -> PassParts:
    forward = _forward(time)
    return forward._replace(forward_s=0.0, backward_s=forward.forward_s)
