import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign import monte_carlo
from simulator.campaign.saves import Saves, SaveTier


def tier(every: int, stall_s: float, persist_s: float = 0.0, **values: object) -> SaveTier:
    return SaveTier(
        name="store",
        survives="region",
        every_steps=every,
        stall_s=stall_s,
        persist_s=persist_s,
        load_s=0.0,
    )


ONE = Saves((tier(10, 5.0, 3.0),))
TWO = Saves((tier(10, 5.0, 3.0), tier(30, 7.0, 40.0)))


def test_steps_and_stalls_add_up() -> None:
    assert ONE.wall_s(0, 9, 1.0) == 9
    assert ONE.wall_s(0, 10, 1.0) == 15
    assert ONE.wall_s(10, 20, 2.0) == 25
    assert TWO.wall_s(0, 60, 1.0) == 60 + 6 * 5 + 2 * 7


@pytest.mark.parametrize(
    ("elapsed_s", "reached"),
    [(0, 0), (9.5, 9.5), (10, 10), (12, 10), (15, 10), (16, 11), (30, 20), (31, 21)],
)
def test_progress_stands_still_while_saving(elapsed_s: float, reached: float) -> None:
    assert ONE.advance(0, elapsed_s, 1.0)[0] == pytest.approx(reached)


@given(
    st.sampled_from([ONE, TWO]),
    st.integers(0, 100),
    st.floats(0, 1e5),
    st.floats(0.01, 100),
)
def test_advance_is_the_inverse_of_wall_time(
    saves: Saves, start: int, elapsed_s: float, step_s: float
) -> None:
    reached, _ = saves.advance(start, elapsed_s, step_s)
    before_s = saves.wall_s(start, np.nextafter(reached, 0), step_s)
    assert before_s <= elapsed_s * (1 + 1e-9) + 1e-9
    assert saves.wall_s(start, reached, step_s) >= elapsed_s * (1 - 1e-9) - 1e-9
    vector = monte_carlo.advance(
        saves.tiers, np.array([float(start)]), np.array([elapsed_s]), step_s
    )
    assert vector[0] == pytest.approx(reached, rel=1e-12)


def test_a_save_is_safe_when_it_is_written() -> None:
    (only,) = ONE.tiers
    assert ONE.last_safe(only, 0, 14.9, 10, 1.0) is None
    assert ONE.last_safe(only, 0, 17.9, 12.9, 1.0) is None
    assert ONE.last_safe(only, 0, 18, 13, 1.0) == 10
    assert ONE.last_safe(only, 0, 32, 20, 1.0) == 10
    assert ONE.last_safe(only, 0, 33, 23, 1.0) == 20
    far = TWO.tiers[1]
    assert TWO.last_safe(far, 0, 30 + 15 + 7 + 39, 60, 1.0) is None
    assert TWO.last_safe(far, 0, 30 + 15 + 7 + 40, 60, 1.0) == 30


@given(st.sampled_from([ONE, TWO]), st.integers(0, 50), st.floats(0, 1e4), st.floats(0.1, 10))
def test_both_engines_agree_on_what_is_safe(
    saves: Saves, start: int, elapsed_s: float, step_s: float
) -> None:
    reached, _ = saves.advance(start, elapsed_s, step_s)
    for one in saves.tiers:
        scalar = saves.last_safe(one, start, elapsed_s, reached, step_s)
        vector = monte_carlo.last_safe(
            saves.tiers,
            one,
            np.array([float(start)]),
            np.array([elapsed_s]),
            np.array([reached]),
            step_s,
        )
        assert vector[0] == (scalar or 0.0)


def test_what_can_be_read_after_a_loss() -> None:
    near = SaveTier(name="peer", survives="node", every_steps=1, stall_s=0, persist_s=0, load_s=0)
    saves = Saves((near, tier(10, 0.0)))
    assert saves.readable("job") == (0, 1)
    assert saves.readable("node") == (0, 1)
    assert saves.readable("rack") == (1,)
