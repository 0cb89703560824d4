"""A shuffled order that is computed place by place: nothing to keep, nothing to save."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

_N_ROUNDS = 4
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def shuffled(places: Places, n: int, key: tuple[int, int]) -> Places:
    """Return where each of some places (0 .. n - 1) of a shuffled order of n things comes from.

    A Feistel network over the next power of four, whose results beyond n go round again, so the
    order is a permutation for every key (Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains", the cycle-walking cipher).
    """
    half_bits = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    seeds = np.random.default_rng(key).integers(2**63, size=_N_ROUNDS).astype(np.uint64)
    found = places.astype(np.uint64)
    outside = np.ones(len(found), dtype=bool)
    while outside.any():
        found[outside] = _encrypted(found[outside], half_bits, seeds)
        outside = found >= n
    return found.astype(np.int64)


def _encrypted(
    values: npt.NDArray[np.uint64], half_bits: int, seeds: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    bits, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> bits, values & mask
    for seed in seeds:
        left, right = right, left ^ (_mixed(right + seed) & mask)
    return (left << bits) | right


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter 64 bits: the finalizer of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
