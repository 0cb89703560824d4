"""Price every distinct combination of a few decisions once, then spread it over all plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import IntArray, PlanTable

MAX_LOOKUP = 1 << 22
"""Largest key range that is resolved by a lookup table instead of a sort."""

Priced = TypeVar("Priced")

Rows = npt.NDArray[np.intp]


def unique_rows(table: PlanTable, columns: Sequence[IntArray]) -> tuple[PlanTable, Rows]:
    """Return the distinct rows with respect to some columns, and where each row went.

    `subset, inverse` are such that `price(subset)[inverse] == price(table)` for every `price` that
    depends on nothing but these columns.
    """
    first, codes = distinct_rows(columns, len(table))
    return table.take(first), codes


def distinct_rows(columns: Sequence[IntArray], n_rows: int) -> tuple[Rows, Rows]:
    """Return the first row of each distinct combination of values, and which one each row has."""
    key = np.zeros(n_rows, dtype=np.int64)
    for column in columns:
        codes, n_codes = _codes(column)
        key = key * n_codes + codes
        if n_codes > 1 and key.size and int(key.max()) >= MAX_LOOKUP:
            key = _codes(key)[0]
    codes, n_codes = _codes(key)
    first = np.empty(n_codes, dtype=np.intp)
    first[codes[::-1]] = np.arange(n_rows - 1, -1, -1, dtype=np.intp)
    return first, codes.astype(np.intp, copy=False)


def _codes(column: IntArray) -> tuple[IntArray, int]:
    """Return the rank of each value among the distinct ones, and how many there are."""
    if not column.size:
        return column, 0
    low, high = int(column.min()), int(column.max())
    if high == low:
        return np.zeros_like(column), 1
    if high - low >= MAX_LOOKUP:
        distinct, codes = np.unique(column, return_inverse=True)
        return codes.astype(np.int64, copy=False), len(distinct)
    present = np.zeros(high - low + 1, dtype=np.bool_)
    present[column - low] = True
    distinct = np.flatnonzero(present)
    ranks = np.empty(len(present), dtype=np.int64)  # what nobody reads stays untouched
    ranks[distinct] = np.arange(len(distinct))
    return ranks[column - low], len(distinct)


def spread(priced: Priced, inverse: Rows) -> Priced:
    """Return a dataclass of arrays, nested or not, with every array indexed by `inverse`."""
    spread_out: Priced = _spread(priced, inverse, {})
    return spread_out


def _spread(value: Any, inverse: Rows, done: dict[int, Any]) -> Any:
    if id(value) not in done:
        if isinstance(value, tuple):
            done[id(value)] = tuple(_spread(part, inverse, done) for part in value)
        elif is_dataclass(value) and not isinstance(value, type):
            parts = {
                field.name: _spread(getattr(value, field.name), inverse, done)
                for field in fields(value)
            }
            done[id(value)] = type(value)(**parts)
        else:
            done[id(value)] = value[inverse]
    return done[id(value)]
