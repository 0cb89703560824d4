"""Batches defined for the whole job: sequence i of step t is the same under every plan.

A rank asks for its share of the sequences by its place on the data-parallel axes, and nothing about
a batch depends on how many ranks there are. So the place to resume at is the step alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from runtime.data.shuffle import shuffled
from runtime.data.store import Tokens, TokenStore
from simulator.spec.errors import InputError

Batches = Callable[[int, range], Tokens]
"""Step (from 0) and rows of its batch to these rows, (rows, sequence length + 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """The global batch, and what its tokens are drawn from."""

    n_sequences: int
    sequence_length: int
    vocab_size: int
    seed: int


def file_batches(store: TokenStore, shape: BatchShape) -> Batches:
    """Return batches of all sequences of the tokens, in an order of its own for every epoch.

    A sequence that touches a skipped file gives its place to the one that is next in that order;
    all others keep theirs. Raises InputError where there is not one sequence.
    """
    length = shape.sequence_length
    n = (store.n_tokens - 1) // length
    if not any(_has_sequence(run, length) for run in store.good_runs()):
        raise InputError(
            f"no piece of the data has the {length + 1} tokens of one sequence",
            where="job.sequence_length",
            fix="use a shorter sequence, more data or data: random",
        )

    def start_of(number: int) -> int:
        epoch, place = divmod(number, n)
        while True:
            start = int(shuffled(np.array([place]), n, (shape.seed, epoch))[0]) * length
            if not store.is_bad(start, length + 1):
                return start
            place = (place + 1) % n

    def batch(step: int, rows: range) -> Tokens:
        numbers = (step * shape.n_sequences + row for row in rows)
        return np.stack([store.read(start_of(number), length + 1) for number in numbers])

    return batch


def _has_sequence(run: range, length: int) -> bool:
    """Return whether a run of tokens has all of a sequence, which starts at whole lengths."""
    return -(-run.start // length) * length + length + 1 <= run.stop


def random_batches(shape: BatchShape) -> Batches:
    """Return batches of seeded uniform tokens."""

    def batch(step: int, rows: range) -> Tokens:
        whole = np.random.default_rng([shape.seed, step]).integers(
            shape.vocab_size, size=(shape.n_sequences, shape.sequence_length + 1)
        )
        return whole[rows.start : rows.stop]

    return batch


def share(n_sequences: int, *, data_rank: int, n_data_ranks: int) -> range:
    """Return the rows of one data-parallel rank: a contiguous block of the batch."""
    per_rank = n_sequences // n_data_ranks
    return range(data_rank * per_rank, (data_rank + 1) * per_rank)


@contextmanager
def prefetched(batches: Batches, rows: range, steps: range) -> Iterator[Iterator[Tokens]]:
    """Yield the batches of steps, each read while the step before it runs."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="data") as reader:

        def each() -> Iterator[Tokens]:
            coming: Future[Tokens] | None = None
            for step in steps:
                now = coming or reader.submit(batches, step, rows)
                coming = reader.submit(batches, step + 1, rows) if step + 1 in steps else None
                yield now.result()

        yield each()
