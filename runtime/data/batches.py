"""Batches defined for the whole job: sequence i of step t is the same under every plan.

A rank takes its share of the sequences by its place on the data-parallel axes, and nothing about a
batch depends on how many ranks there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.data.text import N_SYMBOLS, Corpus
from simulator.spec.errors import InputError

Tokens = npt.NDArray[np.int64]

Batches = Callable[[int], Tokens]
"""Step (from 0) to the whole batch, (batch, sequence length + 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """The global batch, and what its tokens are drawn from."""

    n_sequences: int
    sequence_length: int
    vocab_size: int
    seed: int


def text_batches(corpus: Corpus, shape: BatchShape) -> Batches:
    """Return batches of stretches of the text that start at random places.

    Raises InputError when the vocabulary or the text is too small.
    """
    if shape.vocab_size < N_SYMBOLS:
        raise InputError(
            f"text needs a vocabulary of {N_SYMBOLS} byte values, and model.vocab_size is "
            f"{shape.vocab_size}",
            where="run.data",
            fix="use vocab_size: 256 or data: random",
        )
    n_starts = len(corpus.content) - shape.sequence_length
    if n_starts < 1:
        raise InputError(
            f"the text has {len(corpus.content)} bytes, and one sequence needs "
            f"{shape.sequence_length + 1}",
            where="job.sequence_length",
            fix="use a shorter sequence or data: random",
        )

    def batch(step: int) -> Tokens:
        starts = np.random.default_rng([shape.seed, step]).integers(
            n_starts, size=shape.n_sequences
        )
        places = starts[:, None] + np.arange(shape.sequence_length + 1)
        tokens: Tokens = corpus.tokens[places].astype(np.int64)
        return tokens

    return batch


def random_batches(shape: BatchShape) -> Batches:
    """Return batches of seeded uniform tokens."""

    def batch(step: int) -> Tokens:
        return np.random.default_rng([shape.seed, step]).integers(
            shape.vocab_size, size=(shape.n_sequences, shape.sequence_length + 1)
        )

    return batch


def share(batch: Tokens, *, data_rank: int, n_data_ranks: int) -> Tokens:
    """Return the sequences of one data-parallel rank: a contiguous block of the batch."""
    per_rank = len(batch) // n_data_ranks
    return batch[data_rank * per_rank : (data_rank + 1) * per_rank]
