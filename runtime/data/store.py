"""Reads stretches of the tokens that a manifest lists, from wherever they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from runtime.data.manifest import Manifest, Shard
from simulator.spec.errors import InputError

Tokens = npt.NDArray[np.int64]


class TokenStore:
    """The tokens of all shards, one after the other; read from the files, never held."""

    def __init__(self, manifest: Manifest) -> None:
        self._shards = manifest.shards
        self._dtype = np.dtype(manifest.dtype)
        self._vocab_size = manifest.vocab_size
        sizes = [shard.n_tokens for shard in manifest.shards]
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        skipped = {each.path for each in manifest.skipped}
        self._is_bad = np.array([shard.path in skipped for shard in manifest.shards], dtype=bool)

    @property
    def n_tokens(self) -> int:
        """All tokens, those of skipped files among them."""
        return int(self._starts[-1])

    def good_runs(self) -> Iterator[range]:
        """Yield the stretches between skipped files."""
        for is_bad, members in groupby(range(len(self._shards)), lambda shard: self._is_bad[shard]):
            if not is_bad:
                shards = list(members)
                yield range(int(self._starts[shards[0]]), int(self._starts[shards[-1] + 1]))

    def is_bad(self, start: int, length: int) -> bool:
        """Return whether a stretch touches a skipped file."""
        first, last = self._shards_of(start, length)
        return bool(self._is_bad[first : last + 1].any())

    def read(self, start: int, length: int) -> Tokens:
        """Return a stretch. Raises InputError where a file is not what it was."""
        first, last = self._shards_of(start, length)
        edges = [start, *self._starts[first + 1 : last + 1].tolist(), start + length]
        parts = [
            self._part(self._shards[shard], int(low - self._starts[shard]), high - low)
            for shard, (low, high) in zip(range(first, last + 1), pairwise(edges), strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)

    def _shards_of(self, start: int, length: int) -> tuple[int, int]:
        """Return the first and the last file of a stretch."""
        ends = np.searchsorted(self._starts, (start, start + length - 1), side="right") - 1
        return int(ends[0]), int(ends[1])

    def _part(self, shard: Shard, start: int, length: int) -> npt.NDArray[np.unsignedinteger]:
        width = self._dtype.itemsize
        try:
            descriptor = os.open(shard.path, os.O_RDONLY)
            try:
                content = os.pread(descriptor, length * width, start * width)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _damaged(shard, error.strerror or str(error)) from None
        if len(content) < length * width:
            raise _damaged(shard, "shorter than when the run began")
        tokens = np.frombuffer(content, self._dtype)
        if len(tokens) and int(tokens.max()) >= self._vocab_size:
            raise _damaged(shard, f"token {tokens.max()} of a vocabulary of {self._vocab_size}")
        return tokens


def _damaged(shard: Shard, reason: str) -> InputError:
    return InputError(
        f"{shard.path}: {reason}",
        where="run.data",
        fix="mend it, or go on without it: --resume with run.bad_shards: skip",
    )
