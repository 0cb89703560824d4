"""What happened in one replica of a campaign."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from simulator.campaign.losses import Loss


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a campaign in which one thing happened."""

    start_s: float
    end_s: float
    loss: Loss | None
    """None while training."""
    start_step: float
    end_step: float
    cause: str
    """The failure that ended it, if one did."""


class Strike(NamedTuple):
    """A failure of the job, or of a group of it."""

    time_s: float
    cause: str
    apart: bool
    """Whether the rest of the job went on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRun:
    """What happened in one replica."""

    calendar_s: float
    paid_node_s: float
    productive_node_s: float
    losses_node_s: dict[Loss, float]
    failures: Counter[str]
    """Events that stopped the job, or a group of it, by cause."""
    segments: tuple[Segment, ...]
    """In the order of time; empty unless recorded."""
    strikes: tuple[Strike, ...]
    """All failures, in the order of time; empty unless recorded."""

    @property
    def goodput(self) -> float:
        """Useful over paid device time."""
        return self.productive_node_s / self.paid_node_s
