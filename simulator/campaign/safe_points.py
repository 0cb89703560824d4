"""Which states of a job can be read after a failure, and which of them are corrupt."""

from __future__ import annotations

from math import floor, inf

from simulator.campaign.saves import Saves
from simulator.spec.reliability import FailureCause


class SafePoints:
    """The newest state that each tier holds, in steps."""

    def __init__(self, saves: Saves) -> None:
        self._saves = saves
        self._newest = [0.0] * len(saves.tiers)
        self._stretches: list[tuple[float, float, float, float]] = []
        """Those of `pass_by` since training started last, one after another."""
        self._corrupt_from = inf

    @property
    def corrupt(self) -> bool:
        """Whether the states of now are corrupt."""
        return self._corrupt_from < inf

    def pass_by(self, start: float, reached: float, began_s: float, step_s: float) -> None:
        """Remember a stretch of training at one speed, in which something was saved."""
        self._stretches.append((start, reached, began_s, step_s))

    def settle(self, now_s: float) -> None:
        """Take what is written by now as safe. What is not is given up: training stops."""
        for position, tier in enumerate(self._saves.tiers):
            for start, reached, began_s, step_s in reversed(self._stretches):
                elapsed_s = now_s - began_s
                saved = self._saves.last_safe(tier, start, elapsed_s, reached, step_s)
                if saved is not None:
                    self._newest[position] = saved
                    break
        self._stretches.clear()

    def save_all(self, step: float) -> None:
        """Save to every tier."""
        self._newest = [step] * len(self._newest)

    def spoil(self, step: float) -> None:
        """Make all states after a step corrupt."""
        self._corrupt_from = min(self._corrupt_from, step)

    def restore(self, cause: FailureCause, reached: float) -> tuple[float, float]:
        """Go back to the newest state that can be read: its step, and the time to load it."""
        saves, newest = self._saves, self._newest
        readable = saves.readable(cause.scope)
        if cause.effect == "corrupt":
            position, target = readable[-1], self._before_corruption()
        else:
            position = max(readable, key=newest.__getitem__)
            target = newest[position]
            if 0 < cause.notice_s >= saves.tiers[position].save_s:
                target = max(target, float(floor(reached)))
        target = min(target, reached)
        for other in range(position):
            newest[other] = min(newest[other], target) if other in readable else 0.0
        newest[position] = target
        if target <= self._corrupt_from:
            self._corrupt_from = inf
        return target, saves.tiers[position].load_s

    def _before_corruption(self) -> float:
        """Newest state of the safest tier from before the corruption, if it is still kept."""
        tier, newest = self._saves.tiers[-1], self._newest[-1]
        if newest <= self._corrupt_from:
            return newest
        target = floor(self._corrupt_from / tier.every_steps) * tier.every_steps
        kept = inf if tier.keep is None else tier.keep
        return float(target) if newest - target < kept * tier.every_steps else 0.0
