"""Layers dealt over the chunks of a pipeline so that the slowest chunk is as fast as can be."""

from __future__ import annotations

import numpy as np

from simulator.cost.plan_table import BoolArray, FloatArray, IntArray


def deal(layer_s: FloatArray, edge_s: FloatArray, fits: BoolArray) -> tuple[int, ...] | None:
    """Return the layers of every chunk, at least one each, or None where no division fits.

    Chunk c takes `edge_s[c]` and the times of its layers; it may hold the l layers from layer a on
    where `fits[c, a, l]`. The slowest chunk is as fast as possible, and of such divisions the sum
    of the squared times is least. Dynamic programming over chunks in model order.
    """
    fastest_s = _dealt(layer_s, edge_s, fits, worst_s=np.inf)[0]
    if not np.isfinite(fastest_s):
        return None
    _, taken = _dealt(layer_s, edge_s, fits, worst_s=fastest_s * (1 + 1e-12))
    layers: list[int] = []
    end = len(layer_s)
    for row in taken[::-1]:
        layers.insert(0, int(row[end]))
        end -= layers[0]
    return tuple(layers)


def _dealt(
    layer_s: FloatArray, edge_s: FloatArray, fits: BoolArray, *, worst_s: float
) -> tuple[float, IntArray]:
    """Return the least value of all divisions, and how many layers the chunk before each end takes.

    The value is the slowest chunk's time, or under a bound `worst_s` on it the sum of squares.
    """
    n_layers, most = len(layer_s), fits.shape[2] - 1
    until_s = np.concatenate([[0.0], np.cumsum(layer_s)])
    value = np.full(n_layers + 1, np.inf)
    value[0] = 0.0
    taken = np.zeros((len(edge_s), n_layers + 1), dtype=np.int64)
    for chunk, edge in enumerate(edge_s):
        options = np.full((most + 1, n_layers + 1), np.inf)
        for count in range(1, min(most, n_layers) + 1):
            chunk_s = until_s[count:] - until_s[:-count] + edge
            able = fits[chunk, : n_layers + 1 - count, count] & (chunk_s <= worst_s)
            before = value[: n_layers + 1 - count]
            joined = np.maximum(before, chunk_s) if worst_s == np.inf else before + chunk_s**2
            options[count, count:] = np.where(able, joined, np.inf)
        taken[chunk] = options.argmin(axis=0)
        value = options.min(axis=0)
    return float(value[-1]), taken
