"""Batches in tokens become whole sequences that divide well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator.spec.job import JobSpec, round_batch


@pytest.mark.parametrize(
    ("sequences", "rounded"), [(16e6 / 8192, 2048), (4e6 / 4096, 1024), (3, 3), (2.5, 2), (0.3, 1)]
)
def test_round_batch_by_example(sequences: float, rounded: int) -> None:
    assert round_batch(sequences) == rounded


@given(st.floats(0.01, 1e7))
def test_round_batch_stays_near_and_positive(sequences: float) -> None:
    rounded = round_batch(sequences)
    assert rounded >= 1
    assert abs(rounded - sequences) <= max(1.0, 0.05 * sequences)


def test_tokens_steps_and_batches() -> None:
    job = JobSpec.model_validate(
        {"tokens": "15.6e12", "sequence_length": 8192, "global_batch_tokens": "16e6"}
    )
    assert job.batch_sequences == 2048
    assert job.batch_tokens == 2**24
    assert job.n_steps == -(-15_600_000_000_000 // 2**24)
    assert JobSpec(global_batch_sequences=7).batch_sequences == 7
    assert JobSpec().batch_sequences == 1024


@pytest.mark.parametrize(
    "fields",
    [
        {"global_batch_tokens": 10**6, "global_batch_sequences": 8},
        {"global_batch_tokens": 100},
        {"tokens": 0},
        {"sequence_length": 2**27},
        {"optimizer": "lion"},
    ],
)
def test_what_is_no_job(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(fields)
