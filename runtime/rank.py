"""What every rank does before and after its work: `python -m runtime.rank JOB`.

It ties its life to the agent's, joins the process group, calls the job's module, and leaves its
last words where the launcher finds them.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from datetime import timedelta
from importlib import import_module
from pathlib import Path

from runtime.failure import rank_name, report_error
from runtime.heartbeat import Heartbeat
from runtime.process import die_with_parent
from runtime.rank_job import RankJob
from runtime.run_dir import RunDir, append_event


def _work(job: RankJob, run_dir: RunDir, rank: int) -> None:
    import torch
    import torch.distributed as dist

    main = import_module(job.module).main
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.set_num_threads(job.threads_per_rank)
    append_event(run_dir, "loaded", rank=rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_cuda else "gloo", timeout=timedelta(seconds=job.timeout_s)
    )
    append_event(run_dir, "ready", rank=rank)
    main(job.arguments)
    dist.barrier()
    append_event(run_dir, "end", rank=rank)
    dist.destroy_process_group()


def main() -> None:
    """Run this rank's share of the job."""
    die_with_parent(int(os.environ["ARMILLARY_LAUNCHER_PID"]), signal.SIGKILL)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, chain=True)  # a hung rank's log shows where it stood
    job = RankJob.from_json(sys.argv[1])
    run_dir, rank = RunDir(Path(job.folder)), int(os.environ["RANK"])
    append_event(run_dir, "start", rank=rank)
    try:
        with Heartbeat(run_dir.logs, rank_name(rank)):
            _work(job, run_dir, rank)
    except BaseException as error:
        report_error(run_dir, rank, error)  # before the others notice that this rank has gone
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # a thread that still waits for another rank must not hold this one back


if __name__ == "__main__":
    main()
