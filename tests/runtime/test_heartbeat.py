"""Who counts as silent, and who does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.heartbeat import SUFFIX, Heartbeat, Watch


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def leave_beat(folder: Path, name: str, pid: int) -> Path:
    path = folder / f"{name}{SUFFIX}"
    path.write_text(str(pid))
    return path


def test_silence_counts_from_the_last_beat_seen(tmp_path: Path) -> None:
    path, clock = leave_beat(tmp_path, "rank-1", os.getpid()), Clock()
    os.utime(path, (0, 0))  # the clock of the files says nothing
    watch = Watch(tmp_path, 5.0, clock)
    assert watch.silent() == []
    clock.now_s = 4.0
    assert watch.silent() == []
    os.utime(path, (1, 1))
    clock.now_s = 8.0
    assert watch.silent() == []
    clock.now_s = 13.5
    assert watch.silent() == ["rank-1"]


@pytest.mark.parametrize("pid", ["4194304999", "nonsense"])
def test_who_is_gone_is_not_silent(tmp_path: Path, pid: str) -> None:
    (tmp_path / f"rank-0{SUFFIX}").write_text(pid)
    clock = Clock()
    watch = Watch(tmp_path, 5.0, clock)
    watch.silent()
    clock.now_s = 60.0
    assert watch.silent() == []


def test_who_has_ended_leaves_no_file(tmp_path: Path) -> None:
    with Heartbeat(tmp_path, "agent"):
        assert (tmp_path / f"agent{SUFFIX}").read_text() == str(os.getpid())
    assert list(tmp_path.iterdir()) == []
