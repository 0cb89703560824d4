"""Starts several ranks on this machine, watches them, and leaves none behind.

The ranks are started by torchrun's agent (`runtime.agent`), each through `runtime.rank`. Nothing
here imports torch.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runtime.failure import explain_failure, fell_silent, never_started
from runtime.heartbeat import Watch
from runtime.json_lines import JsonLines
from runtime.rank_job import RankJob
from runtime.run_dir import Event, RunDir, event_lines
from simulator.spec.errors import InputError

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
POLL_S = 0.1
SHUTDOWN_S = 5.0
"""How long ranks get to end by themselves before they are killed."""


def run_ranks(job: RankJob, *, while_waiting: Callable[[], None] = lambda: None) -> None:
    """Run a job to its end.

    Raises
    ------
    InputError
        If the port is in use, or what a rank said of its input.
    RunError
        If a rank died, hung or failed; the message ends with what its log said last.
    """
    _require_free(job.port)
    run_dir = RunDir(Path(job.folder))
    run_dir.logs.mkdir(parents=True, exist_ok=True)
    for old in run_dir.logs.iterdir():
        old.unlink()
    events = event_lines(run_dir)
    events.new()  # those of runs before
    with (run_dir.logs / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "runtime.agent", job.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(job),
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )
    try:
        _wait(agent, job, run_dir, events, while_waiting)
    finally:
        _stop(agent)
    if agent.returncode != 0:
        raise explain_failure(run_dir, agent.returncode)


def _wait(
    agent: subprocess.Popen[bytes],
    job: RankJob,
    run_dir: RunDir,
    events: JsonLines[Event],
    while_waiting: Callable[[], None],
) -> None:
    deadline_s = time.monotonic() + job.start_timeout_s
    seen: list[Event] = []
    all_ready = False
    watch = Watch(run_dir.logs, job.silence_s)
    while agent.poll() is None:
        while_waiting()
        if silent := watch.silent():
            _stop(agent)
            raise fell_silent(run_dir, silent, job)
        if not all_ready:
            seen += events.new()
            all_ready = not _missing(seen, "ready", job)
            if not all_ready and time.monotonic() > deadline_s:
                _stop(agent)  # the ranks print where they stand as they are told to end
                # Where one has not even loaded, the others wait for it.
                late = _missing(seen, "loaded", job) or _missing(seen, "ready", job)
                raise never_started(run_dir, late, job)
        time.sleep(POLL_S)
    while_waiting()


def _missing(events: list[Event], event: str, job: RankJob) -> list[int]:
    """Return the ranks that have not had an event."""
    seen = {each.rank for each in events if each.event == event}
    return sorted(set(range(job.n_ranks)) - seen)


def _stop(agent: subprocess.Popen[bytes]) -> None:
    """End the agent, which ends its ranks; the kernel ends them if it cannot."""
    if agent.poll() is not None:
        return
    agent.send_signal(signal.SIGTERM)
    try:
        agent.wait(2 * SHUTDOWN_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()


def _require_free(port: int) -> None:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used: {error.strerror}",
            where="--port",
            fix="leave it out to take a free one",
        ) from error


def _environment(job: RankJob) -> dict[str, str]:
    return os.environ | {
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(job.threads_per_rank),
        "GLOO_SOCKET_IFNAME": LOOPBACK_INTERFACE,
        "NCCL_SOCKET_IFNAME": LOOPBACK_INTERFACE,
        "ARMILLARY_LAUNCHER_PID": str(os.getpid()),
    }
