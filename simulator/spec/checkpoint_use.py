"""How a campaign uses one place for checkpoints: results, never inputs."""

from __future__ import annotations

from simulator.spec.base import Spec
from simulator.spec.reliability import Scope


class CheckpointUse(Spec):
    """One checkpoint tier of a campaign."""

    name: str
    survives: Scope
    interval_s: float
    """Work between two saves."""
    stall_s: float
    """Time that training stands still for one."""
    persist_s: float
    """From then until it is safe."""
    load_s: float
    """To read it at a restart; 0 where the restart is one number that includes it."""
    read_every_s: float | None
    """Mean time between failures that no nearer tier survives; None where there is none."""
