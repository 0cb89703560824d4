"""The books of a campaign: where every paid node-second went."""

from __future__ import annotations

from simulator.campaign.losses import Loss


class Ledger:
    """Node-seconds by class; what is booked is never lost, only moved."""

    def __init__(self) -> None:
        self.productive = 0.0
        self.losses: dict[Loss, float] = dict.fromkeys(Loss, 0.0)

    def lose(self, loss: Loss, node_s: float) -> None:
        """Book node-seconds that were no progress."""
        self.losses[loss] += node_s

    def undo(self, node_s: float) -> None:
        """Turn progress into lost work."""
        self.productive -= node_s
        self.losses[Loss.LOST_WORK] += node_s

    @property
    def total(self) -> float:
        """All that was booked."""
        return self.productive + sum(self.losses.values())
