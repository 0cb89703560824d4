"""How the layers are divided over pipeline stages, for every plan of a table."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Self

import numpy as np

from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
from simulator.cost.unique import unique_rows
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import SCHEDULE_TRAITS

FIRST, MIDDLE, LAST = 0, 1, 2
"""The stages that can be the slowest or the fullest: first, heaviest of those between, last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLayers:
    """What some stages of every plan hold; arrays of shape (n, stages).

    The stages are the columns `FIRST`, `MIDDLE` and `LAST` unless all of one plan were asked for.
    Where there are fewer stages, one of them stands in several columns.
    """

    dense: FloatArray
    moe: FloatArray
    embedding: FloatArray
    """1 where the stage holds the embedding."""
    heads: FloatArray
    """Output heads on the stage: one, and one more for every multi-token-prediction layer."""
    rank: IntArray
    """Pipeline rank of the stage."""
    last_alike: IntArray
    """Pipeline rank of the last of the middle stages that hold as much as this one."""

    @classmethod
    def of(cls, model: ModelSpec, table: PlanTable) -> Self:
        """Divide the layers as evenly as `PlanSpec.chunk_layers` does."""
        subset, inverse = unique_rows(table, (table.pp, table.virtual_stages, table.v_shaped))
        divisions = zip(subset.pp, subset.virtual_stages, subset.v_shaped, strict=True)
        picked = np.array([_even_stages(model, *map(int, each)) for each in divisions])
        # Stages vary slowest in memory, so that operations run along the plans.
        return cls._from(picked.transpose(2, 1, 0)[:, :, inverse].transpose(2, 1, 0))

    @classmethod
    def of_division(cls, model: ModelSpec, table: PlanTable, chunk_layers: tuple[int, ...]) -> Self:
        """Divide the layers as told, for plans that have equally many stages."""
        v_shaped = bool(table.v_shaped[0])
        picked = _pick(stage_rows(model, int(table.pp[0]), chunk_layers, v_shaped=v_shaped))
        return cls._from(np.broadcast_to(picked, (len(table), *picked.shape)))

    @classmethod
    def all_of_plan(cls, model: ModelSpec, plan: PlanSpec) -> Self:
        """Every stage of one plan; arrays of shape (1, pp)."""
        v_shaped = SCHEDULE_TRAITS[plan.schedule].v_shaped
        layers = plan.chunk_layers(model.n_layers)
        return cls._from(stage_rows(model, plan.pp, layers, v_shaped=v_shaped)[None])

    def only(self, stage: int) -> Self:
        """Return one of the stages as the only column."""
        picked = {f.name: getattr(self, f.name)[:, stage : stage + 1] for f in fields(self)}
        return type(self)(**picked)

    @classmethod
    def _from(cls, stages: FloatArray) -> Self:
        dense, moe, embedding, heads, rank, last_alike = np.moveaxis(stages, -1, 0)
        return cls(
            dense=dense,
            moe=moe,
            embedding=embedding,
            heads=heads,
            rank=rank.astype(np.int64),
            last_alike=last_alike.astype(np.int64),
        )


def even_chunks(n_layers: int, n_chunks: int) -> tuple[int, ...]:
    """Layers of every chunk; earlier chunks take what does not divide."""
    base, extra = divmod(n_layers, n_chunks)
    return tuple(base + (chunk < extra) for chunk in range(n_chunks))


def chunk_rows(model: ModelSpec, chunk_layers: tuple[int, ...]) -> FloatArray:
    """Return (chunks, 4): dense layers, mixture layers, embedding and heads of each chunk."""
    mixture = np.array([model.is_moe_layer(layer) for layer in range(model.n_layers)])
    bounds = np.concatenate([[0], np.cumsum(chunk_layers)])
    chunks = np.zeros((len(chunk_layers), 4))
    for chunk, layers in enumerate(chunk_layers):
        n_moe = int(mixture[bounds[chunk] : bounds[chunk + 1]].sum())
        chunks[chunk, :2] = (layers - n_moe, n_moe)
    chunks[0, 2] = 1.0
    chunks[-1, 1 if model.is_moe_layer(model.n_layers - 1) else 0] += model.n_mtp_layers
    chunks[-1, 3] = 1.0 + model.n_mtp_layers
    return chunks


def stage_rows(
    model: ModelSpec, pp: int, chunk_layers: tuple[int, ...], *, v_shaped: bool
) -> FloatArray:
    """Return (pp, 6): dense and mixture layers, embedding, heads and (twice) rank of each stage."""
    chunks = chunk_rows(model, chunk_layers)
    numbers = np.arange(len(chunks))
    ranks = np.minimum(numbers, 2 * pp - 1 - numbers) if v_shaped else numbers % pp
    stages = np.zeros((pp, 6))
    np.add.at(stages[:, :4], ranks, chunks)
    stages[:, 4] = stages[:, 5] = np.arange(pp)
    return stages


@lru_cache(maxsize=1 << 14)
def _even_stages(model: ModelSpec, pp: int, virtual_stages: int, v_shaped: int) -> FloatArray:
    even = even_chunks(model.n_layers, pp * virtual_stages)
    return _pick(stage_rows(model, pp, even, v_shaped=bool(v_shaped)))


def _pick(stages: FloatArray) -> FloatArray:
    between = stages[1:-1] if len(stages) > 2 else stages[:1]
    weights = [(row[:2].sum(), row[1]) for row in between]
    heaviest = max(weights)
    picked = np.stack([stages[0], between[weights.index(heaviest)], stages[-1]])
    picked[MIDDLE, 5] = between[len(weights) - 1 - weights[::-1].index(heaviest), 4]
    return picked
