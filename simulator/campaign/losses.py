"""Where paid device time goes when it is not progress.

References
----------
The classes follow the badput classes of AI-Hypercomputer/ml-goodput-measurement (v0.2), told apart
by what could shorten them.
"""

from __future__ import annotations

from enum import StrEnum


class Loss(StrEnum):
    """A class of lost device time."""

    INITIALISATION = "initialisation"
    """From the first device to the first step."""
    RESTART = "restart"
    """From a failure to training again."""
    LOST_WORK = "lost_work"
    """Steps that a failure undid."""
    CHECKPOINT_STALL = "checkpoint_stall"
    """Training stands still for a checkpoint."""
    WAITING_FOR_SPARES = "waiting_for_spares"
    """Too few nodes are up."""
    DEGRADED_SPEED = "degraded_speed"
    """Steps longer than on healthy devices."""
    INPUT_STALL = "input_stall"
    """Steps wait for data."""
    PLANNED_MAINTENANCE = "planned_maintenance"
    IDLE = "idle"
    """Devices that are paid and hold no rank: spares, nodes in repair."""
