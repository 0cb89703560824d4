"""What plans repeat of their layers, as columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.cost.plan_table import BoolArray, FloatArray, IntArray, PlanTable
from simulator.spec.model import ModelSpec
from simulator.spec.recompute import (
    WHOLE_LAYERS,
    Part,
    WholeLayers,
    count_of,
    parse_recompute,
    repeats,
    whole_of,
)

FULL = parse_recompute("full")
PARTS_OF_ONE = 1 << 20
"""Shares of layers are told apart to one in so many."""


def repeated(table: PlanTable, part: Part) -> FloatArray:
    """1 where a part is repeated in the layers that are not repeated whole, else 0; shape (n,)."""
    return 1.0 * np.asarray(repeats(table.recompute, part))


def whole_share(model: ModelSpec, table: PlanTable) -> FloatArray:
    """Share of the model's layers that are repeated whole; shape (n,).

    Every stage counts with this mean. The layers are divided evenly over the chunks.
    """
    count, n_chunks = np.asarray(count_of(table.recompute)), table.n_chunks
    base = model.n_layers // n_chunks
    longer = model.n_layers - base * n_chunks
    first = (n_chunks - longer) * np.minimum(count, base) + longer * np.minimum(count, base + 1)
    n_whole = np.select(
        [_is(table, "every"), _is(table, "first"), _is(table, "groups-of")],
        [model.n_layers // np.maximum(count, 1), first, np.full(len(table), model.n_layers)],
        0,
    )
    share: FloatArray = n_whole / model.n_layers
    return share


def group_layers(model: ModelSpec, table: PlanTable) -> FloatArray:
    """Layers of which only the first one's input is kept, 1 unless they are grouped; shape (n,)."""
    of_chunk = -(-model.n_layers // table.n_chunks)
    grouped = np.minimum(np.asarray(count_of(table.recompute)), of_chunk)
    return np.where(_is(table, "groups-of"), 1.0 * grouped, 1.0)


def with_short_chunks(table: PlanTable) -> PlanTable:
    """Return the plans as if their chunks were short: the first layers of each are all of them."""
    return replace(table, recompute=np.where(_is(table, "first"), FULL.code, table.recompute))


def in_groups(table: PlanTable) -> BoolArray:
    """Whether layers come back in groups, which short chunks cut; shape (n,)."""
    return _is(table, "groups-of")


def recompute_columns(model: ModelSpec, table: PlanTable) -> tuple[IntArray, ...]:
    """Return what the recompute of a layer depends on, as columns for `unique_rows`."""
    share = np.rint(PARTS_OF_ONE * whole_share(model, table)).astype(np.int64)
    return table.recompute, share, group_layers(model, table).astype(np.int64)


def _is(table: PlanTable, whole: WholeLayers) -> BoolArray:
    found: BoolArray = np.asarray(whole_of(table.recompute)) == 1 + WHOLE_LAYERS.index(whole)
    return found
