"""Dealing layers is compared with trying every division."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.dealing import deal
from simulator.cost.plan_table import BoolArray, FloatArray


def every_division(n_layers: int, n_chunks: int) -> list[tuple[int, ...]]:
    cuts = itertools.combinations(range(1, n_layers), n_chunks - 1)
    edges = [(0, *cut, n_layers) for cut in cuts]
    return [tuple(b - a for a, b in itertools.pairwise(edge)) for edge in edges]


def chunk_times(division: tuple[int, ...], layer_s: FloatArray, edge_s: FloatArray) -> FloatArray:
    starts = np.concatenate([[0], np.cumsum(division)])
    sums = [layer_s[a:b].sum() for a, b in itertools.pairwise(starts)]
    return np.array(sums) + edge_s


def has_room(division: tuple[int, ...], fits: BoolArray) -> bool:
    starts = np.concatenate([[0], np.cumsum(division)])[:-1]
    most = fits.shape[2] - 1
    return all(
        count <= most and bool(fits[chunk, start, count])
        for chunk, (start, count) in enumerate(zip(starts, division, strict=True))
    )


@given(st.data())
def test_no_division_that_fits_is_better(data: st.DataObject) -> None:
    n_layers = data.draw(st.integers(1, 9))
    n_chunks = data.draw(st.integers(1, n_layers))
    times = st.sampled_from([1.0, 1.5, 2.0, 4.0])
    layer_s = np.array(data.draw(st.lists(times, min_size=n_layers, max_size=n_layers)))
    edge_s = np.array(data.draw(st.lists(times, min_size=n_chunks, max_size=n_chunks)))
    most = data.draw(st.integers(1, n_layers))
    fits = np.random.default_rng(data.draw(st.integers(0, 99))).random(
        (n_chunks, n_layers + 1, most + 1)
    ) < data.draw(st.sampled_from([0.6, 0.9, 1.0]))
    able = [each for each in every_division(n_layers, n_chunks) if has_room(each, fits)]
    dealt = deal(layer_s, edge_s, fits)
    if not able:
        assert dealt is None
        return

    def worth(division: tuple[int, ...]) -> tuple[float, float]:
        chunk_s = chunk_times(division, layer_s, edge_s)
        return round(float(chunk_s.max()), 9), round(float((chunk_s**2).sum()), 9)

    assert dealt in able
    assert worth(dealt) == min(map(worth, able))


def test_a_heavy_head_takes_layers_from_its_stage() -> None:
    """16 layers and a head of 3 in 4 stages: 19 units are at best 5 a stage, the head's with 2."""
    fits = np.ones((4, 17, 17), dtype=np.bool_)
    edge_s = np.array([0.0, 0.0, 0.0, 3.0])
    dealt = deal(np.ones(16), edge_s, fits)
    assert dealt is not None
    assert sorted(np.array(dealt) + edge_s) == [4, 5, 5, 5]
