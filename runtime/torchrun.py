"""One rank of a plan under plain torchrun: `torchrun ... -m runtime.torchrun PLAN RUN_DIR`.

For nodes that share a folder. On one machine `armillary run` does the same on loopback only.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from runtime.run_dir import RunDir, append_event
from runtime.worker import local_device, train
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.errors import ArmillaryError, InputError

TIMEOUT_S = 600.0


def main(arguments: list[str]) -> int:
    """Train this rank's share; return the exit code."""
    plan_path, folder = arguments
    run_dir, rank = RunDir(Path(folder)), int(os.environ["RANK"])
    try:
        plan_file = read_plan_file(plan_path)
        n_ranks = int(os.environ["WORLD_SIZE"])
        if n_ranks != plan_file.plan.n_ranks:
            raise InputError(
                f"torchrun started {n_ranks} ranks, and the plan has {plan_file.plan.n_ranks}",
                where=plan_path,
            )
        on_cuda = torch.cuda.is_available()
        if on_cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.set_num_threads(plan_file.scenario.run.threads_per_rank)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_cuda else "gloo", timeout=timedelta(seconds=TIMEOUT_S)
        )
        if rank == 0:
            run_dir.root.mkdir(parents=True, exist_ok=True)
            write_plan_file(run_dir.plan, plan_file)
        dist.barrier()
        append_event(run_dir, "start", rank=rank)
        train(plan_file, run_dir, local_device())
        append_event(run_dir, "end", rank=rank)
        dist.destroy_process_group()
    except ArmillaryError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
