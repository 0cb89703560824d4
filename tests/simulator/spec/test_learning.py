"""Hyper-parameters: what is unset, and the learning rate over a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.learning import Decay, Learning, LearningSpec


def test_what_is_unset_is_the_choice_of_armillary_run() -> None:
    assert Learning.of(LearningSpec()) == Learning()
    assert Learning.of(LearningSpec(adam_beta1=0.0, warmup_steps=0)) == Learning(
        adam_beta1=0.0, warmup_steps=0
    )
    assert set(LearningSpec.model_fields) == set(Learning.__dataclass_fields__)


def test_the_rate_grows_to_the_largest_and_falls_to_the_last() -> None:
    rates = {
        decay: [
            Learning(
                learning_rate=1.0,
                warmup_steps=4,
                learning_rate_decay=decay,
                final_learning_rate=0.2,
            ).rate(step, 12)
            for step in range(12)
        ]
        for decay in ("constant", "linear", "cosine")
    }
    for each in rates.values():
        assert each[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates["constant"][4:] == [1.0] * 8
    assert rates["linear"][4:] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert rates["cosine"][7] == pytest.approx(0.6)  # half-way between 1.0 and 0.2
    assert rates["cosine"][11] == pytest.approx(0.2)


@given(
    st.integers(0, 50),
    st.integers(1, 100),
    st.sampled_from(["constant", "linear", "cosine"]),
    st.integers(0, 300),
)
def test_the_rate_stays_between_its_ends(
    warmup_steps: int, n_steps: int, decay: Decay, step: int
) -> None:
    learning = Learning(
        learning_rate=1.0,
        warmup_steps=warmup_steps,
        learning_rate_decay=decay,
        final_learning_rate=0.1,
    )
    rate = learning.rate(step, n_steps)
    assert 0 < rate <= 1
    assert step < warmup_steps or rate >= 0.1 - 1e-12
