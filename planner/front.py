"""What nothing else beats in everything at once; less is better in every criterion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import BoolArray, FloatArray


def beaten(rows: FloatArray, by: FloatArray, *, tolerance: float = 0.0) -> BoolArray:
    """Return which rows (n, criteria) some row of `by` equals or beats.

    It does where no criterion is larger by more than a share `tolerance`.
    """
    left: npt.NDArray[np.intp] = np.arange(len(rows))
    for other in by:
        left = left[~(other <= rows[left] * (1 + tolerance)).all(axis=1)]
    mask = np.ones(len(rows), dtype=np.bool_)
    mask[left] = False
    return mask


def unbeaten(rows: FloatArray, *, tolerance: float = 0.0) -> npt.NDArray[np.intp]:
    """Return the rows that no other one beats, by the first criterion; of equals the first."""
    left: npt.NDArray[np.intp] = np.lexsort(rows.T[::-1])
    kept: list[int] = []
    while len(left):
        first, left = int(left[0]), left[1:]
        kept.append(first)
        left = left[~beaten(rows[left], rows[[first]], tolerance=tolerance)]
    return np.array(kept, dtype=np.intp)
