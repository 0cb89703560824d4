"""What a pipeline stage does per microbatch, for whole tables of plans: units and their sums.

A unit is a layer, the embedding or the head. Stages are the columns of `StageLayers`: the first,
the heaviest of those between and the last.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray
from simulator.cost.stages import StageLayers
from simulator.cost.step_costs import EdgeCosts, LayerCosts, StepCosts
from simulator.spec.model import ModelSpec

N_PARTS = 6
"""Forward, backward, recompute, tp, cp and ep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit over one microbatch; arrays of shape (n,)."""

    parts_s: tuple[FloatArray, ...]
    forward_s: FloatArray
    """Forward pass with its exchanges: what a gather can hide behind."""
    backward_s: FloatArray
    """Backward pass and recompute with their exchanges: what a reduction can hide behind."""
    reduce_s: FloatArray
    gather_s: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The units of a model and how many of each a stage holds; counts of shape (n, 3)."""

    dense: Unit
    moe: Unit
    embedding: Unit
    head: Unit
    model: ModelSpec
    stages: StageLayers

    @classmethod
    def of(cls, costs: StepCosts, model: ModelSpec, stages: StageLayers) -> Units:
        """Price the units of a model."""
        return cls(
            dense=unit_of(costs.dense),
            moe=unit_of(costs.moe),
            embedding=unit_of(costs.embedding),
            head=unit_of(costs.head),
            model=model,
            stages=stages,
        )

    @property
    def first_layer(self) -> Unit:
        """The kind of layer next to the embedding."""
        return self.moe if self.model.is_moe_layer(0) else self.dense

    @property
    def last_layer(self) -> Unit:
        """The kind of layer next to the head."""
        return self.moe if self.model.is_moe_layer(self.model.n_layers - 1) else self.dense

    @property
    def each(self) -> tuple[Unit, Unit, Unit, Unit]:
        """Dense layer, mixture layer, embedding, head."""
        return self.dense, self.moe, self.embedding, self.head

    @property
    def counts(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """How many of each the stages hold."""
        stages = self.stages
        return stages.dense, stages.moe, stages.embedding, stages.heads

    def per_stage(self, values: Sequence[FloatArray]) -> FloatArray:
        """Sum over the units of a stage, from one value per unit; shape (n, 3)."""
        return add(
            [count * value[:, None] for count, value in zip(self.counts, values, strict=True)]
        )

    def mean_layer(self, values: Sequence[FloatArray]) -> FloatArray:
        """Average over the layers, from one value per unit; shape (n,)."""
        moe_share = self.model.n_moe_layers / self.model.n_layers
        return (1.0 - moe_share) * values[0] + moe_share * values[1]

    def at_the_end(self, values: Sequence[FloatArray]) -> FloatArray:
        """What the last chunk holds beside its even share of layers; shape (n,)."""
        beyond = self.model.n_mtp_layers
        last = values[1] if self.last_layer is self.moe else values[0]
        return (1.0 + beyond) * values[3] + beyond * last

    def parts_at(self, column: IntArray) -> list[FloatArray]:
        """Parts of one microbatch on the stage in each plan's `column`."""
        rows = np.arange(len(column))
        return [
            add(
                [
                    count[rows, column] * unit.parts_s[part]
                    for count, unit in zip(self.counts, self.each, strict=True)
                ]
            )
            for part in range(N_PARTS)
        ]


def unit_of(part: LayerCosts | EdgeCosts) -> Unit:
    """Sum up the passes of a layer or an edge."""
    forward, backward = part.forward, part.backward
    passes = [forward, backward]
    recompute_s = np.zeros_like(forward.compute_s)
    backward_s = backward.total_s
    if isinstance(part, LayerCosts):
        passes.append(part.recompute)
        recompute_s = part.recompute.compute_s
        backward_s = backward_s + part.recompute.total_s
    return Unit(
        parts_s=(
            forward.compute_s,
            backward.compute_s,
            recompute_s,
            add([each.tp_s for each in passes]),
            add([each.cp_s for each in passes]),
            add([each.ep_s for each in passes]),
        ),
        forward_s=forward.total_s,
        backward_s=backward_s,
        reduce_s=part.reduce_s,
        gather_s=part.gather_s,
    )


def add(arrays: Sequence[FloatArray]) -> FloatArray:
    """Sum of some arrays."""
    return functools.reduce(np.add, arrays)
