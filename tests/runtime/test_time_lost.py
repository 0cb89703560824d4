"""Where the time of a run went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.run_dir import Event
from runtime.time_lost import time_lost
from tests.runtime.test_compare import STEADY


def event(
    time_s: float,
    name: str,
    *,
    duration_s: float = 0.0,
    cause: str = "",
    ranks: tuple[int, ...] = (),
) -> Event:
    return Event(
        time_s=time_s,
        event=name,
        rank=0,
        pid=7,
        duration_s=duration_s,
        cause=cause,
        ranks=ranks,
    )


EVENTS = [
    event(0.0, "launch"),
    event(10.0, "training"),
    event(14.5, "checkpoint", duration_s=0.5),  # after steps 1 and 2
    event(16.0, "fault", ranks=()),  # of a node that holds none
    event(20.0, "fault", ranks=(1,)),
    event(21.0, "failure"),
    event(22.0, "wait"),
    event(27.0, "launch"),
    event(33.0, "training"),
    event(41.0, "end"),
]
LINES = [
    replace(STEADY, step=step, step_s=2.0, end_s=end_s)
    for step, end_s in [(1, 12.0), (2, 14.0), (3, 16.5), (4, 18.5), (3, 35.0), (4, 37.0), (5, 39.0)]
]


def test_every_second_is_in_one_class() -> None:
    lost = time_lost(LINES, EVENTS)
    seconds = {name: share * 41.0 for name, share in lost.items() if share > 0}
    assert seconds == {
        "initialisation": pytest.approx(10.0),
        "restart": pytest.approx(2.0 + 6.0),  # to the wait, and from the second launch
        "lost_work": pytest.approx(4.0 + 1.5),  # two steps, and the one that was cut off
        "checkpoint_stall": pytest.approx(0.5),
        "waiting_for_spares": pytest.approx(5.0),
        "other": pytest.approx(2.0),  # after the last step
    }
    assert sum(lost.values()) + 5 * 2.0 / 41.0 == pytest.approx(1.0)


def test_a_fault_that_only_slows_stops_nothing() -> None:
    slowed = [e for e in EVENTS if e.time_s < 19] + [
        event(15.0, "fault", cause="slow", ranks=(0,)),
        event(20.0, "end"),
    ]
    lost = time_lost(LINES[:4], slowed)
    assert lost["restart"] == lost["lost_work"] == 0.0


def test_steps_that_overlap_are_taken_off() -> None:
    """Each was slowest on another rank: all shares and goodput are still the whole."""
    events = [event(0.0, "launch"), event(10.0, "training"), event(10.5, "training")]
    lines = [
        replace(STEADY, step=step, step_s=3.0, end_s=end_s)
        for step, end_s in [(1, 13.0), (2, 15.5), (3, 18.0)]
    ]
    lost = time_lost(lines, [*events, event(18.0, "end")])
    assert lost["initialisation"] == pytest.approx(10.0 / 18.0)  # to the first that trains
    assert lost["other"] == pytest.approx(-1.0 / 18.0)
    assert sum(lost.values()) + 3 * 3.0 / 18.0 == pytest.approx(1.0)


def test_a_run_that_goes_on_later_waited_to_be_started() -> None:
    ended = [e for e in EVENTS if e.time_s < 15] + [event(15.0, "end")]
    lost = time_lost(LINES[:2] + LINES[4:], ended + EVENTS[-3:])
    assert lost["restart"] == pytest.approx((12.0 + 6.0) / 41.0)
    assert sum(lost.values()) + 5 * 2.0 / 41.0 == pytest.approx(1.0)


def test_a_run_that_did_not_end_says_nothing() -> None:
    assert time_lost(LINES, EVENTS[:-1]) == {}
    assert time_lost(LINES, [*EVENTS, event(50.0, "launch")]) == {}
