"""The torchrun agent of one machine, on loopback only: `python -m runtime.agent JOB`.

torchrun's own rendezvous stores listen on every interface, and one of them unpickles what it is
sent. This agent is torchrun's (torch.distributed.elastic) with a rendezvous of its own: one node,
and a store that listens on 127.0.0.1. Every attempt gets a new store, so that a restarted rank
never reads addresses of the attempt before.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from runtime.failure import AGENT, Exit, log_path, report_exits
from runtime.heartbeat import Heartbeat
from runtime.process import die_with_parent
from runtime.rank_job import RankJob
from runtime.ranks import LOOPBACK, SHUTDOWN_S
from runtime.run_dir import AGENT_EVENT, RunDir, append_event


class LoopbackRendezvous(RendezvousHandler):
    """The meeting point of the ranks of one machine."""

    def __init__(self, run_id: str, port: int, timeout: timedelta) -> None:
        self._run_id = run_id
        self._port = port
        self._timeout = timeout
        self._store: TCPStore | None = None

    def get_backend(self) -> str:
        return "loopback"

    @property
    def use_agent_store(self) -> bool:
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        self._store = None  # closes the store of the attempt before, and its port
        listener = socket.create_server((LOOPBACK, self._port))
        port = listener.getsockname()[1]
        self._store = TCPStore(
            LOOPBACK,
            port,
            is_master=True,
            timeout=self._timeout,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
        return RendezvousInfo(
            PrefixStore("agent", self._store), 0, 1, RendezvousStoreInfo(LOOPBACK, port)
        )

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        """Nobody else can come."""

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._run_id

    def shutdown(self) -> bool:
        self._store = None
        return True


class RankLogs(LogsSpecs):
    """One log file per rank."""

    def __init__(self, run_dir: RunDir) -> None:
        super().__init__(log_dir=str(run_dir.logs))
        self._run_dir = run_dir

    @property
    def root_log_dir(self) -> str:
        return str(self._run_dir.logs)

    def reify(self, envs: Mapping[int, Mapping[str, str]]) -> LogsDest:
        ranks = {local: int(env["RANK"]) for local, env in envs.items()}
        not_written = dict.fromkeys(ranks, "")
        return LogsDest(
            # The rank itself sends its output the way of its errors: one file, one writer.
            stdouts=not_written,
            tee_stdouts=not_written,
            tee_stderrs=not_written,
            stderrs={local: str(log_path(self._run_dir, rank)) for local, rank in ranks.items()},
            error_files={
                local: str(self._run_dir.logs / f"rank-{rank}.torch.json")
                for local, rank in ranks.items()
            },
        )


def main() -> None:
    """Start the ranks of a job, and leave when the last of them has."""
    job = RankJob.from_json(sys.argv[1])
    die_with_parent(int(os.environ["ARMILLARY_LAUNCHER_PID"]), signal.SIGTERM)
    os.environ["ARMILLARY_LAUNCHER_PID"] = str(os.getpid())
    run_dir = RunDir(Path(job.folder))

    def meet(parameters: RendezvousParameters) -> LoopbackRendezvous:
        return LoopbackRendezvous(parameters.run_id, job.port, timedelta(seconds=job.timeout_s))

    rendezvous_handler_registry.register("loopback", meet)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=job.n_ranks,
        run_id=run_dir.root.name,
        rdzv_backend="loopback",
        max_restarts=0,
        logs_specs=RankLogs(run_dir),
        local_addr=LOOPBACK,
        shutdown_timeout=int(SHUTDOWN_S),
    )
    append_event(run_dir, AGENT_EVENT)
    try:
        with Heartbeat(run_dir.logs, AGENT):
            elastic_launch(config, sys.executable)("-m", "runtime.rank", sys.argv[1])
    except ChildFailedError as error:
        report_exits(
            run_dir,
            [
                Exit(rank=rank, pid=failure.pid, exit_code=failure.exitcode)
                for rank, failure in error.failures.items()
            ],
        )
        sys.exit(1)
    except SignalException:
        sys.exit(1)


if __name__ == "__main__":
    main()
