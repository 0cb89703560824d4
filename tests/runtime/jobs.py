"""Jobs of several ranks that go wrong on purpose: each function is what every rank does.

`armillary`'s launcher calls a module's `main`; here the first argument names the function.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from simulator.spec.errors import InputError


def listen(arguments: Sequence[str]) -> None:
    """Wait with every kind of connection open until the test has looked."""
    dist.all_reduce(torch.ones(1))
    dist.new_group([0, 1])
    dist.barrier()
    Path(arguments[0], f"listening-{dist.get_rank()}").touch()
    deadline_s = time.monotonic() + 60
    while not Path(arguments[0], "seen").exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)


def die(arguments: Sequence[str]) -> None:
    """Rank 1 is killed while rank 0 waits for it."""
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def fail(arguments: Sequence[str]) -> None:
    """Rank 1 raises."""
    if dist.get_rank() == 1:
        raise ValueError("the fault of this rank")
    dist.barrier()


def refuse(arguments: Sequence[str]) -> None:
    """Rank 1 finds its input bad."""
    if dist.get_rank() == 1:
        raise InputError("bad thing", where="file:3", fix="mend it")
    dist.barrier()


def hang(arguments: Sequence[str]) -> None:
    """Rank 1 never comes to where rank 0 waits for it."""
    if dist.get_rank() == 1:
        _sleep_in_this_function()
    dist.barrier()


def _sleep_in_this_function() -> None:
    time.sleep(600)


def main(arguments: Sequence[str]) -> None:
    globals()[arguments[0]](arguments[1:])
