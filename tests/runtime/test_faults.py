"""Outages done to ranks: whom they kill, and whom not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.blows import FULL_AT_BYTES
from runtime.corruption import SIGNAL
from runtime.faults import FaultInjector
from runtime.run_dir import AGENT_EVENT, RunDir, append_event, read_events
from simulator.spec.errors import InputError
from simulator.spec.reliability import Outage


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    """A process to kill."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def leave_events(place: RunDir, pid: int, *names: str) -> None:
    with place.events.open("a") as file:
        for name in names:
            file.write(json.dumps({"time_s": 1.0, "event": name, "rank": 0, "pid": pid}) + "\n")


def injector_of(place: RunDir, cause: str, times_s: list[float]) -> FaultInjector:
    """An injector of an outage from 1 to 9 s; it reads the first of the times, which stay."""
    outages = (Outage(node=0, start_s=1.0, end_s=9.0, cause=cause),)
    injector = FaultInjector(outages, place, lambda: times_s[0])
    injector.begin((0,))
    return injector


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is stopped, once a signal to it has had the time to arrive."""
    time.sleep(0.05)
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")")[1].split()[0] == "T"


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(("names", "dies"), [(("start",), True), (("start", "end"), False)])
def test_a_rank_is_killed_unless_it_has_ended(
    names: tuple[str, ...], dies: bool, rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place, times_s = RunDir(tmp_path), [0.0]
    injector = injector_of(place, "recorded", times_s)
    leave_events(place, rank.pid, *names)
    injector()
    assert rank.poll() is None
    times_s[0] = 2.0
    injector()
    if dies:
        assert rank.wait(10) == -9
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            rank.wait(0.2)


@pytest.mark.parametrize("pid", [1, 0, -1, -4242])
def test_a_pid_that_names_more_than_a_rank_is_refused(pid: int, tmp_path: Path) -> None:
    place = RunDir(tmp_path)
    leave_events(place, pid, "start")
    with pytest.raises(InputError, match="not a line of events"):
        read_events(place)


@linux
def test_a_hung_rank_is_stopped_once_it_is_ready(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place = RunDir(tmp_path)
    injector = injector_of(place, "hung", [2.0])
    leave_events(place, rank.pid, "start")
    injector()
    assert not is_stopped(rank)
    leave_events(place, rank.pid, "ready")
    injector()
    injector()
    assert is_stopped(rank)
    assert injector.down() == {0}


@linux
def test_a_slow_rank_is_stopped_every_other_time_and_goes_on_afterwards(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place, times_s = RunDir(tmp_path), [2.0]
    injector = injector_of(place, "slow", times_s)
    leave_events(place, rank.pid, "start", "ready")
    stopped = []
    for times_s[0] in (2.0, 3.0, 4.0, 10.0, 11.0):
        injector()
        stopped.append(is_stopped(rank))
    assert stopped == [True, False, True, False, False]
    assert injector.down() == frozenset()


@linux
def test_a_slow_rank_that_ends_is_not_left_stopped(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place = RunDir(tmp_path)
    injector = injector_of(place, "slow", [2.0])
    leave_events(place, rank.pid, "start", "ready")
    injector()
    leave_events(place, rank.pid, "end")
    injector()
    assert not is_stopped(rank)


@linux
def test_a_full_disk_ends_with_its_outage(rank: subprocess.Popen[bytes], tmp_path: Path) -> None:
    import resource

    place, times_s = RunDir(tmp_path), [2.0]
    before = resource.prlimit(rank.pid, resource.RLIMIT_FSIZE)
    injector = injector_of(place, "full-disk", times_s)
    leave_events(place, rank.pid, "start", "ready")
    injector()
    assert resource.prlimit(rank.pid, resource.RLIMIT_FSIZE)[0] == FULL_AT_BYTES
    times_s[0] = 9.0
    injector()
    assert resource.prlimit(rank.pid, resource.RLIMIT_FSIZE) == before


def test_a_rank_is_corrupted_once_it_heeds_the_signal(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """It kills whoever does not expect it, as this one."""
    place = RunDir(tmp_path)
    injector = injector_of(place, "corruption", [2.0])
    leave_events(place, rank.pid, "start", "loaded", "ready")
    injector()
    with pytest.raises(subprocess.TimeoutExpired):
        rank.wait(0.2)
    leave_events(place, rank.pid, "training")
    injector()
    assert rank.wait(10) == -SIGNAL


def test_a_dead_rendezvous_is_the_end_of_the_agent(
    rank: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    place = RunDir(tmp_path)
    injector = injector_of(place, "rendezvous", [2.0])
    append_event(place, AGENT_EVENT)
    text = place.events.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {rank.pid}')
    place.events.write_text(text)
    injector()
    assert rank.wait(10) == -9
    assert injector.has_struck
