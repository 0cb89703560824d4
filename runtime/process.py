"""Ties the life of a process to its parent's, so that no rank outlives its job."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent_pid: int, death_signal: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies (Linux; else nothing).

    The parent's pid is compared afterwards, because it may have died before the call.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), death_signal)
