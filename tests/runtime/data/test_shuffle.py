"""A shuffled order: every place once, another order for every key, and nothing like the first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.data.shuffle import shuffled


@given(n=st.integers(1, 2000), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 9))
def test_every_thing_comes_once(n: int, seed: int, epoch: int) -> None:
    assert sorted(shuffled(np.arange(n), n, (seed, epoch)).tolist()) == list(range(n))


def test_a_place_does_not_depend_on_what_else_is_asked() -> None:
    whole = shuffled(np.arange(1000), 1000, (3, 0))
    assert [int(shuffled(np.array([place]), 1000, (3, 0))[0]) for place in range(7)] == list(
        whole[:7]
    )


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(shuffled(np.arange(50), 50, key)) for key in [(0, 0), (0, 1), (1, 0)]}
    assert len(orders) == 3


def test_neighbours_part() -> None:
    n = 100_000
    order = shuffled(np.arange(n), n, (0, 0))
    assert np.abs(np.diff(order)).mean() == pytest.approx(n / 3, rel=0.02)
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 0.02


def test_a_trillion_tokens_need_no_table() -> None:
    n = 10**9 + 7
    assert (shuffled(np.arange(5), n, (0, 0)) < n).all()
