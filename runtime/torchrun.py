"""One rank of a plan under torchrun: `torchrun ... -m runtime.torchrun PLAN RUN_DIR [--resume]`.

For nodes that share a folder. On one machine `armillary run` does the same on loopback only. A rank
that torchrun has started again goes on from the last checkpoint.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import torch
import torch.distributed as dist

from runtime.launch import require_place, require_runnable
from runtime.run_dir import RunDir, append_event
from runtime.worker import local_device, train
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.errors import ArmillaryError, InputError
from simulator.spec.plan_file import PlanFile

TIMEOUT_S = 600.0
RESUME = "--resume"
USAGE = f"torchrun ... -m runtime.torchrun PLAN RUN_DIR [{RESUME}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the command line asks for."""

    plan_path: str
    run_dir: RunDir
    resume: bool

    @classmethod
    def of(cls, arguments: list[str]) -> Self:
        """Read the arguments. Raises InputError when they are not a plan and a folder."""
        places = [argument for argument in arguments if argument != RESUME]
        if len(places) != 2 or any(place.startswith("-") for place in places):
            raise InputError(f"not a plan and a run directory: {arguments}", fix=USAGE)
        plan_path, folder = places
        return cls(plan_path=plan_path, run_dir=RunDir(Path(folder)), resume=RESUME in arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A rank among the others, as torchrun says it."""

    rank: int
    local_rank: int
    n_ranks: int
    n_restarts: int

    @classmethod
    def of_environment(cls) -> Self:
        """Read torchrun's variables. Raises InputError without them."""
        try:
            return cls(
                rank=int(os.environ["RANK"]),
                local_rank=int(os.environ["LOCAL_RANK"]),
                n_ranks=int(os.environ["WORLD_SIZE"]),
                n_restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
            )
        except (KeyError, ValueError) as error:
            raise InputError(
                f"this is a rank of torchrun's, and the environment lacks it: {error}",
                fix=f"{USAGE}; on one machine: armillary run PLAN",
            ) from None


def main(arguments: list[str]) -> int:
    """Train this rank's share; return the exit code."""
    try:
        _train(Task.of(arguments), Place.of_environment())
    except ArmillaryError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}", InputError.exit_code)
    return 0


def _fail(message: str, exit_code: int) -> int:
    sys.stderr.write(f"error: rank {os.environ.get('RANK', '?')}: {message}\n")
    return exit_code


def _train(task: Task, place: Place) -> None:
    plan_file = _checked(task, place)
    run_dir = task.run_dir
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(place.local_rank)
    torch.set_num_threads(plan_file.scenario.run.threads_per_rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_cuda else "gloo", timeout=timedelta(seconds=TIMEOUT_S)
    )
    dist.barrier()  # all have looked at the folder before one of them writes there
    if place.rank == 0:
        run_dir.root.mkdir(parents=True, exist_ok=True)
        write_plan_file(run_dir.plan, plan_file)
    dist.barrier()
    append_event(run_dir, "start", rank=place.rank)
    train(plan_file, run_dir, local_device())
    append_event(run_dir, "end", rank=place.rank)
    dist.destroy_process_group()


def _checked(task: Task, place: Place) -> PlanFile:
    """Return the plan to train. Raises InputError unless this job can train it in that folder."""
    plan_file = read_plan_file(task.plan_path)
    if place.n_ranks != plan_file.plan.n_ranks:
        raise InputError(
            f"torchrun started {place.n_ranks} ranks, and the plan has {plan_file.plan.n_ranks}",
            where=task.plan_path,
        )
    require_runnable(plan_file)
    # A restart may come before the first attempt has written anything.
    goes_on = place.n_restarts > 0 and task.run_dir.plan.exists()
    require_place(task.run_dir, plan_file, resume=task.resume or goes_on)
    return plan_file


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a thread that still waits for another rank must not hold this one back
