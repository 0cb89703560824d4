"""Batches are the same whoever reads which rows, from whichever step."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from runtime.data import Batches, prefetched, share
from runtime.data.batches import BatchShape, file_batches, random_batches
from runtime.data.prepare import prepare_data
from runtime.data.store import Tokens, TokenStore
from runtime.run_dir import RunDir
from simulator.spec.errors import InputError
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import fp32, plan_file

SHAPE = BatchShape(n_sequences=8, sequence_length=16, vocab_size=256, seed=3)
N_SEQUENCES = 100


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Of a text whose sequences all differ, over three files."""
    text = b"".join(b"%015d\n" % number for number in range(N_SEQUENCES)) + b"."
    for number, (start, stop) in enumerate([(0, 7), (7, 900), (900, None)]):
        (tmp_path / f"{number}.txt").write_bytes(text[start:stop])
    run = RunSpec(data=str(tmp_path / "*.txt"))
    scenario = plan_file(fp32(), run=run).scenario
    manifest = prepare_data(scenario, RunDir(tmp_path))
    assert manifest is not None
    return file_batches(TokenStore(manifest), SHAPE)


def numbers(batch: Tokens) -> list[int]:
    return [int(bytes(row[:15].tolist())) for row in batch]


def test_an_epoch_has_every_sequence_once(batches: Batches) -> None:
    in_order = [
        number
        for step in range(2 * N_SEQUENCES // 8)
        for number in numbers(batches(step, range(8)))
    ]
    assert sorted(in_order[:N_SEQUENCES]) == list(range(N_SEQUENCES))
    assert sorted(in_order[N_SEQUENCES:]) == list(range(N_SEQUENCES))
    assert in_order[:N_SEQUENCES] != in_order[N_SEQUENCES:]


@pytest.mark.parametrize("kind", ["files", "random"])
@pytest.mark.parametrize("n_ranks", [1, 2, 4, 8])
def test_any_number_of_ranks_reads_the_same(batches: Batches, kind: str, n_ranks: int) -> None:
    read = batches if kind == "files" else random_batches(SHAPE)
    for step in (0, 12, 13):
        whole = read(step, range(8))
        parts = [
            read(step, share(8, data_rank=rank, n_data_ranks=n_ranks)) for rank in range(n_ranks)
        ]
        assert (np.concatenate(parts) == whole).all()


def test_targets_follow_tokens_into_the_next_file(batches: Batches) -> None:
    """Sequences lap over by a token, and one of them lies in two files."""
    rows = np.concatenate([batches(step, range(8)) for step in range(12)])
    assert (rows[:, 15] == ord("\n")).all()
    assert set(rows[:, 16].tolist()) <= {ord("0"), ord(".")}


def test_prefetching_reads_ahead(batches: Batches) -> None:
    asked: list[int] = []

    def slow(step: int, rows: range) -> Tokens:
        asked.append(step)
        return batches(step, rows)

    with prefetched(slow, range(8), range(5, 9)) as coming:
        for step, batch in zip(range(5, 9), coming, strict=True):
            assert (batch == batches(step, range(8))).all()
            deadline_s = time.monotonic() + 10
            while step + 1 not in [*asked, 9] and time.monotonic() < deadline_s:
                time.sleep(0.001)  # the step: meanwhile the next batch is read
            assert step + 1 in [*asked, 9]
    assert asked == [5, 6, 7, 8]


def test_what_goes_wrong_while_reading_ahead_is_told(batches: Batches) -> None:
    def broken(step: int, rows: range) -> Tokens:
        if step == 1:
            raise InputError("the disk is gone")
        return batches(step, rows)

    with prefetched(broken, range(8), range(3)) as coming:
        next(coming)
        with pytest.raises(InputError, match="the disk is gone"):
            next(coming)


def test_too_little_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("sixteen letters.")
    scenario = plan_file(fp32(), run=RunSpec(data=str(tmp_path / "a.txt"))).scenario
    manifest = prepare_data(scenario, RunDir(tmp_path))
    assert manifest is not None
    with pytest.raises(InputError, match="no piece of the data has the 17 tokens"):
        file_batches(TokenStore(manifest), SHAPE)
