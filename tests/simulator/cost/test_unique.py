from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.cost.unique import spread, unique_rows
from simulator.spec.plan import PlanSpec


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 8]), st.sampled_from([1, 3, 4]), st.integers(1, 10**7)),
        min_size=1,
        max_size=30,
    )
)
def test_distinct_rows_spread_back_to_the_table(shapes: list[tuple[int, int, int]]) -> None:
    table = PlanTable.of([PlanSpec(tp=tp, pp=pp, n_microbatches=m) for tp, pp, m in shapes])
    subset, inverse = unique_rows(table, (table.tp, table.n_microbatches))
    assert len(subset) == len({(tp, m) for tp, _, m in shapes})
    assert np.array_equal(subset.tp[inverse], table.tp)
    assert np.array_equal(subset.n_microbatches[inverse], table.n_microbatches)


@dataclass(frozen=True)
class _Pair:
    once: FloatArray
    twice: tuple[FloatArray, FloatArray]


def test_spreading_keeps_what_was_shared_shared() -> None:
    array = np.array([1.0, 2.0])
    out = spread(_Pair(array, (array, array + 1)), np.array([1, 0, 1]))
    assert out.once.tolist() == [2.0, 1.0, 2.0]
    assert out.twice[0] is out.once
    assert out.twice[1].tolist() == [3.0, 2.0, 3.0]
