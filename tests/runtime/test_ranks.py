"""Ranks that die, hang or fail: one clear error, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.run_dir import RunDir, read_events
from simulator.spec.errors import InputError, RunError

pytestmark = pytest.mark.ranks


def job(folder: Path, function: str, *, timeout_s: float = 60.0) -> RankJob:
    return RankJob(
        module="tests.runtime.jobs",
        arguments=(function, str(folder)),
        n_ranks=2,
        folder=str(folder),
        timeout_s=timeout_s,
    )


def pids(folder: Path) -> list[int]:
    return [event.pid for event in read_events(RunDir(folder)) if event.event == "start"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(folder: Path) -> None:
    deadline_s = time.monotonic() + 10
    while any(map(alive, pids(folder))) and time.monotonic() < deadline_s:
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def no_orphans(tmp_path: Path) -> Iterator[None]:
    yield
    wait_for_end(tmp_path)
    assert [pid for pid in pids(tmp_path) if alive(pid)] == []


def test_killed_rank_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"rank 1 \(pid \d+\) was killed by SIGKILL") as raised:
        run_ranks(job(tmp_path, "die"))
    assert str(raised.value).startswith(str(tmp_path / "logs" / "rank-1.log"))


def test_failed_rank_is_named_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="rank 1 failed: ValueError") as raised:
        run_ranks(job(tmp_path, "fail"))
    assert "  | ValueError: the fault of this rank" in raised.value.message


def test_bad_input_of_a_rank_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        run_ranks(job(tmp_path, "refuse"))
    assert str(raised.value) == "file:3: bad thing; mend it"


def test_hung_rank_is_named_with_where_it_stood(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="rank 1 did not answer") as raised:
        run_ranks(job(tmp_path, "hang", timeout_s=5))
    assert "_sleep_in_this_function" in raised.value.message


def test_rank_that_hangs_at_start_is_named(tmp_path: Path) -> None:
    stuck = RankJob(
        module="tests.runtime.stuck_import",
        arguments=(),
        n_ranks=2,
        folder=str(tmp_path),
        start_timeout_s=20,
    )
    with pytest.raises(RunError, match="rank 1 did not start within 20 s") as raised:
        run_ranks(stuck)
    assert "stuck_import.py" in raised.value.message


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = RankJob(
            module="tests.runtime.jobs",
            arguments=("fail",),
            n_ranks=2,
            folder=str(tmp_path),
            port=port,
        )
        with pytest.raises(InputError, match=f"port {port} cannot be used") as raised:
            run_ranks(busy)
    assert raised.value.where == "--port"


def listening_addresses(process_ids: list[int]) -> set[str]:
    """Return the addresses, as /proc writes them, at which some processes listen."""
    sockets = set()
    for pid in process_ids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                sockets.add(target[len("socket:[") : -1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:  # LISTEN
                found.add(fields[1].split(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_loopback_listens(tmp_path: Path) -> None:
    seen: set[str] = set()

    def look() -> None:
        if not seen and all((tmp_path / f"listening-{rank}").exists() for rank in (0, 1)):
            ranks = pids(tmp_path)
            agent = int(Path(f"/proc/{ranks[0]}/stat").read_text().rsplit(")")[1].split()[1])
            seen.update(listening_addresses([agent, *ranks]))
            (tmp_path / "seen").touch()

    run_ranks(job(tmp_path, "listen"), while_waiting=look)
    assert seen == {"0100007F"}  # 127.0.0.1


def launch_by_itself(folder: Path) -> subprocess.Popen[str]:
    program = (
        "from tests.runtime.test_ranks import job, run_ranks\n"
        "from pathlib import Path\n"
        f"run_ranks(job(Path({str(folder)!r}), 'listen'))\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline_s = time.monotonic() + 60
    while not (folder / "listening-1").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert len(pids(folder)) == 2
    return launcher


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ranks_end_with_their_launcher(tmp_path: Path, blow: signal.Signals) -> None:
    launcher = launch_by_itself(tmp_path)
    launcher.send_signal(blow)
    launcher.communicate(timeout=30)
    assert launcher.returncode != 0
    # the fixture looks for orphans
