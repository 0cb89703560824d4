"""What the classes of a trace do to real processes; a class that is not here kills its node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from runtime.corruption import SIGNAL as CORRUPT

FULL_AT_BYTES = 2**16
"""A rank on a full disk can write no byte of a file beyond."""


def _signalled(number: signal.Signals) -> Callable[[int], None]:
    return lambda pid: os.kill(pid, number)


def _file_limit(limit_bytes: int | None) -> Callable[[int], None]:
    """Return what lets a process write files up to so many bytes; None: as before."""

    def limit(pid: int) -> None:
        if sys.platform == "linux":
            import resource

            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            soft = hard if limit_bytes is None else limit_bytes
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """What is done to every process that a fault strikes."""

    strike: Callable[[int], None]
    """By process id."""
    relieve: Callable[[int], None] | None = None
    """Done when the outage ends; None: nothing but a restart helps."""
    pulses: bool = False
    """Struck and relieved in turn while the outage lasts."""
    takes_node: bool = False
    """Whether the node is away until the outage ends."""
    on_agent: bool = False
    """Strikes the agent, which holds the ranks' meeting point, instead of a node's ranks."""
    stops: bool = True
    """Whether the run has to start again."""
    at: str = "ready"
    """Event of a rank from which on it can be struck."""

    def hit(self, pid: int) -> None:
        """Strike a process that may have ended by itself."""
        with suppress(ProcessLookupError):
            self.strike(pid)

    def leave(self, pid: int) -> None:
        """Relieve a process that may have ended by itself."""
        if self.relieve is not None:
            with suppress(ProcessLookupError):
                self.relieve(pid)


KILL = Blow(strike=_signalled(signal.SIGKILL), takes_node=True, at="start")

BLOWS: dict[str, Blow] = {
    "hung": Blow(strike=_signalled(signal.SIGSTOP), takes_node=True),
    "slow": Blow(
        strike=_signalled(signal.SIGSTOP),
        relieve=_signalled(signal.SIGCONT),
        pulses=True,
        stops=False,
    ),
    "corruption": Blow(strike=_signalled(CORRUPT), at="training"),  # from then on it is heeded
    "full-disk": Blow(strike=_file_limit(FULL_AT_BYTES), relieve=_file_limit(None), stops=False),
    "rendezvous": Blow(strike=_signalled(signal.SIGKILL), on_agent=True),
}


def blow_of(cause: str) -> Blow:
    """Return what an outage of this class does."""
    return BLOWS.get(cause, KILL)
