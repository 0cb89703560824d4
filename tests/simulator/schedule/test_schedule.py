"""Schedules as data: legality, bubbles and activations in flight against their formulas."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.schedule import (
    Action,
    Schedule,
    actions_of,
    bubble_fraction,
    make_schedule,
)
from simulator.schedule.registry import ORDERS
from simulator.schedule.timeline import finish_times
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName
from tests.simulator.pipelines import pipelines


def test_every_schedule_has_an_order_and_traits() -> None:
    assert [*ORDERS] == [*SCHEDULE_TRAITS] == [*get_args(ScheduleName)]


@pytest.mark.parametrize("name", ["gpipe", "1f1b"])
@given(pp=st.integers(1, 12), n_microbatches=st.integers(1, 40))
def test_bubble_of_single_chunk_schedules(name: str, pp: int, n_microbatches: int) -> None:
    """(pp - 1) / m, Narayanan et al. 2021 section 2.2."""
    schedule = make_schedule(name, pp, 1, n_microbatches)
    assert bubble_fraction(schedule) == pytest.approx((pp - 1) / n_microbatches)


@given(pp=st.integers(1, 8), virtual_stages=st.integers(2, 5), rounds=st.integers(1, 6))
def test_bubble_of_interleaved(pp: int, virtual_stages: int, rounds: int) -> None:
    """(pp - 1) / (m v), Narayanan et al. 2021 section 2.2."""
    schedule = make_schedule("interleaved-1f1b", pp, virtual_stages, pp * rounds)
    assert bubble_fraction(schedule) == pytest.approx((pp - 1) / (pp * rounds * virtual_stages))


def test_bubble_worked_number() -> None:
    """MT-NLG's pipeline of 35 with 280 microbatches idles 34/280 = 12.1 % of its busy time."""
    assert bubble_fraction(make_schedule("1f1b", 35, 1, 280)) == pytest.approx(0.1214, abs=1e-4)


@given(pp=st.integers(1, 12), n_microbatches=st.integers(1, 40))
def test_in_flight_of_gpipe_is_every_microbatch(pp: int, n_microbatches: int) -> None:
    schedule = make_schedule("gpipe", pp, 1, n_microbatches)
    assert schedule.peak_in_flight() == (n_microbatches,) * pp


@given(pp=st.integers(1, 12), n_microbatches=st.integers(1, 40))
def test_in_flight_of_1f1b_is_the_distance_to_the_end(pp: int, n_microbatches: int) -> None:
    schedule = make_schedule("1f1b", pp, 1, n_microbatches)
    assert schedule.peak_in_flight() == tuple(min(n_microbatches, pp - r) for r in range(pp))


@given(pp=st.integers(1, 8), virtual_stages=st.integers(2, 5), rounds=st.integers(2, 6))
def test_in_flight_of_interleaved(pp: int, virtual_stages: int, rounds: int) -> None:
    """First rank: pp v (1 + (pp - 1) / (pp v)) chunks, Korthikanti et al. 2022 section 4.2.3."""
    schedule = make_schedule("interleaved-1f1b", pp, virtual_stages, pp * rounds)
    peaks = schedule.peak_in_flight()
    everything = virtual_stages * pp * rounds
    assert peaks[0] == min(everything, pp * virtual_stages + pp - 1)
    assert peaks == tuple(
        min(everything, (virtual_stages - 1) * pp + 2 * (pp - 1 - rank) + 1) for rank in range(pp)
    )


@given(pp=st.integers(1, 8), virtual_stages=st.integers(1, 4), extra=st.integers(0, 12))
def test_looped_breadth_first_holds_everything(pp: int, virtual_stages: int, extra: int) -> None:
    """The bubble of interleaving, with the memory of GPipe (Lamy-Poirier 2022, table 1)."""
    n_microbatches = pp + extra
    schedule = make_schedule("looped-bfs", pp, virtual_stages, n_microbatches)
    assert schedule.peak_in_flight() == (n_microbatches * virtual_stages,) * pp
    expected = (pp - 1) / (n_microbatches * virtual_stages)
    assert bubble_fraction(schedule) == pytest.approx(expected)


@given(pp=st.integers(1, 8), virtual_stages=st.integers(1, 4), rounds=st.integers(2, 5))
def test_zero_bubble_idles_a_third_with_the_memory_of_1f1b(
    pp: int, virtual_stages: int, rounds: int
) -> None:
    """(pp - 1)(F + I - W), Qi et al. 2023 table 2 (ZB-H1); pp microbatches in flight."""
    schedule = make_schedule("zero-bubble", pp, virtual_stages, pp * rounds)
    assert schedule.peak_in_flight() == (pp * virtual_stages,) * pp
    assert bubble_fraction(schedule) == pytest.approx((pp - 1) / (3 * schedule.n_passes))


@given(pp=st.integers(1, 8), extra=st.integers(0, 12))
def test_zero_bubble_v_never_idles_between_its_first_and_last_pass(pp: int, extra: int) -> None:
    """Qi et al. 2023 section 6; rank r begins r forwards late, with the memory of 1F1B."""
    schedule = make_schedule("zb-v", pp, 2, 2 * pp + extra)
    busy = 3.0 * schedule.n_passes
    assert finish_times(schedule) == pytest.approx([rank + busy for rank in range(pp)])
    assert max(schedule.peak_in_flight()) == 2 * pp


@given(pp=st.integers(1, 8), extra=st.integers(0, 12))
def test_dualpipe_v_holds_one_chunk_more_than_there_are(pp: int, extra: int) -> None:
    """deepseek-ai/DualPipe: 2 pp + 1 chunks in flight, at most (pp - 1)(F&B + B - 3W) idle."""
    schedule = make_schedule("dualpipe-v", pp, 2, 2 * pp + extra)
    assert max(schedule.peak_in_flight()) <= 2 * pp + 1
    assert bubble_fraction(schedule) * 3 * schedule.n_passes <= (pp - 1) * (3 + 2 - 3) + 1e-9


@given(pp=st.integers(1, 8), extra=st.integers(0, 12))
def test_zb_h2_never_idles_between_its_first_and_last_pass(pp: int, extra: int) -> None:
    """Qi et al. 2023 table 2: (pp - 1)(F + I - 2W) = 0, with 2 pp - 1 microbatches in flight."""
    schedule = make_schedule("zb-h2", pp, 1, 2 * pp - 1 + extra)
    assert schedule.peak_in_flight() == (2 * pp - 1,) * pp
    busy = 3.0 * schedule.n_passes
    assert finish_times(schedule) == pytest.approx([rank + busy for rank in range(pp)])


def schedules() -> st.SearchStrategy[Schedule]:
    return pipelines(max_pp=6, max_virtual=4).map(lambda sizes: actions_of(PlanSpec(**sizes)))


@given(schedules())
def test_every_schedule_is_legal_and_survives_csv(schedule: Schedule) -> None:
    """Construction checks that it can be executed; here: nothing twice, and read as written."""
    passes = [action for row in schedule.ranks for action in row]
    assert len(passes) == len(set(passes))
    assert bubble_fraction(schedule) >= -1e-12
    assert Schedule.from_csv(schedule.to_csv(), name=schedule.name) == schedule


@given(schedules())
def test_chunks_lie_in_a_loop_or_in_a_v(schedule: Schedule) -> None:
    pp, n_chunks = schedule.pp, schedule.n_chunks
    loop = tuple(chunk % pp for chunk in range(n_chunks))
    v = tuple(min(chunk, 2 * pp - 1 - chunk) for chunk in range(n_chunks))
    assert schedule.rank_of_chunk() == (v if schedule.name in ("zb-v", "dualpipe-v") else loop)


def test_csv_form() -> None:
    csv = make_schedule("interleaved-1f1b", 2, 2, 2).to_csv()
    assert csv == ("0F0,0F1,2F0,2F1,2B0,2B1,0B0,0B1\n1F0,1F1,3F0,3B0,3F1,3B1,1B0,1B1\n")


def test_csv_with_idle_slots_and_split_backward() -> None:
    schedule = Schedule.from_csv("0F0,,0I0, 0W0 \n,1F0,1B0,\n")
    assert schedule.ranks[0] == (Action(0, "F", 0), Action(0, "I", 0), Action(0, "W", 0))
    assert schedule.rank_of_chunk() == (0, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no actions"),
        ("0F0,0B0\n1F0,what", "s.csv:2:2: 'what' is not an action"),
        ("0F0,0B0\n1F0", "chunk 1, microbatch 0 has the passes F"),
        ("0F0,0F0,0B0", "0F0 appears twice"),
        ("0F0,0B0,0I0,0W0", "has the passes FBIW"),
        ("0F0,1F0,0B0\n1B0", "1B0: chunk 1 is on rank 0 and on rank 1"),
        ("0B0,0F0", "rank 0 cannot go on at position 0: 0B0 waits for 0F0"),
        ("0F0,0W0,0I0", "0W0 waits for 0B0"),
        ("0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1", "rank 0 cannot go on at position 1"),
        ("0F0,0B0\n2F0,2B0", "chunk 1, microbatch 0 has the passes (none)"),
        ("999999F9999999,0F0", "more than 20000000 passes"),
    ],
)
def test_bad_tables_are_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Schedule.from_csv(text, where="s.csv")
    assert says in str(caught.value)
    assert str(caught.value).startswith("s.csv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("1f1p", 2, 1, 2), "unknown schedule '1f1p'; did you mean 1f1b"),
        (
            ("1f1b", 2, 2, 2),
            "has one chunk per rank, and virtual_stages=2; take interleaved-1f1b or",
        ),
        (("interleaved-1f1b", 4, 2, 9), "make n_microbatches a multiple of 4"),
        (("gpipe", 2, 1, 0), "all must be at least 1"),
        (("zb-v", 2, 3, 4), "has 2 chunks per rank, and virtual_stages=3"),
        (("dualpipe-v", 4, 2, 7), "needs at least 2 x pp = 8 microbatches"),
    ],
)
def test_impossible_sizes_are_refused(arguments: tuple[str, int, int, int], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_schedule(*arguments)


def test_schedule_of_a_plan() -> None:
    plan = PlanSpec(pp=4, virtual_stages=2, schedule="interleaved-1f1b", n_microbatches=8)
    assert actions_of(plan) == make_schedule("interleaved-1f1b", 4, 2, 8)
