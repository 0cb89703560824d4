"""Work between saves to several tiers, against a search over the nearest one's interval."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.renewal import optimal_interval_s
from simulator.campaign.save_intervals import TierMoves, intervals_s

STEP_S, WHOLE_S = np.array([1.0]), np.array([1e12])


def moves(
    mtbf_s: float,
    *,
    stall_s: float = 0.0,
    persist_s: float = 0.0,
    asked_s: float = 0.0,
    blocking: bool = False,
) -> TierMoves:
    values = {"stall_s": stall_s, "persist_s": persist_s, "mtbf_s": mtbf_s, "asked_s": asked_s}
    arrays = {name: np.array([value]) for name, value in values.items()}
    return TierMoves(blocking=blocking, load_s=np.zeros(1), **arrays)


def found(*tiers: TierMoves) -> list[float]:
    return [float(each[0]) for each in intervals_s(tiers, STEP_S, WHOLE_S)]


def test_one_tier_saves_at_its_exact_optimum() -> None:
    assert found(moves(11135.08, stall_s=20.0)) == pytest.approx([654.12], abs=0.01)
    assert found(moves(inf, stall_s=20.0)) == [1e12]
    assert found(moves(1e9, stall_s=0.0, persist_s=300.0)) == [300.0]


def test_tiers_that_nothing_reads_are_saved_to_once() -> None:
    assert found(moves(inf, stall_s=2.0), moves(inf, persist_s=300.0)) == [1e12, 1e12]
    blocking = moves(inf, stall_s=20.0, blocking=True)
    assert found(moves(inf), moves(inf, persist_s=9.0), blocking) == [1e12, 1e12, 1e12]


def test_a_tier_that_nothing_reads_is_saved_to_for_the_next_one() -> None:
    """The copy on the host is where the other tiers are written from."""
    best_s = float(optimal_interval_s(20.0, 11135.08))
    assert found(moves(inf, stall_s=20.0), moves(11135.08)) == pytest.approx([best_s, best_s])
    both = found(moves(22270.16, stall_s=20.0), moves(22270.16))
    assert both == pytest.approx([best_s, best_s])


def test_a_slow_write_does_not_hurry_the_copy() -> None:
    own_s = float(optimal_interval_s(20.0, 11135.08))
    near_s, far_s = found(moves(11135.08, stall_s=20.0), moves(1e4, persist_s=5000.0))
    assert near_s == pytest.approx(own_s)
    assert far_s >= 5000.0
    assert far_s / near_s == pytest.approx(round(far_s / near_s))
    # Where only the slow one is read, the copy waits for its write.
    assert found(moves(inf, stall_s=20.0), moves(1e4, persist_s=5000.0)) == [5000.0, 5000.0]


def test_no_tier_waits_longer_than_one_that_stops_training_behind_it() -> None:
    best_s = float(optimal_interval_s(100.0, 1e6))
    near = moves(inf, stall_s=1.0)
    assert found(near, moves(1e6, stall_s=100.0, blocking=True)) == pytest.approx([best_s] * 2)
    assert found(near, moves(1e6, asked_s=600.0)) == [600.0, 600.0]
    assert found(moves(1e5, stall_s=1.0, asked_s=50.0), moves(1e6))[0] == 50.0


@given(
    st.floats(0.1, 100),
    st.lists(st.tuples(st.floats(1e5, 1e8), st.floats(0, 2000)), min_size=1, max_size=3),
)
def test_no_interval_of_the_nearest_tier_is_much_better(
    stall_s: float, read: list[tuple[float, float]]
) -> None:
    """Lost is what copies cost, and half an interval with every failure of a tier."""
    tiers = [moves(read[0][0], stall_s=stall_s, persist_s=read[0][1])]
    tiers += [moves(mtbf_s, persist_s=persist_s) for mtbf_s, persist_s in read[1:]]

    def lost(every_s: float) -> float:
        total, grid_s = stall_s / every_s, every_s
        for position, (mtbf_s, persist_s) in enumerate(read):
            if position:
                grid_s *= np.ceil(max(persist_s, grid_s) / grid_s * (1 - 1e-12))
            total += grid_s / 2 / mtbf_s
        return total

    least_s = max(1.0, read[0][1])
    tried = [lost(every_s) for every_s in np.geomspace(least_s, max(1e5, 2 * least_s), 400)]
    assert lost(found(*tiers)[0]) <= 1.2 * min(tried)
