"""Steps and saves between two events, by arithmetic: how far a job gets, and what is safe."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.spec.reliability import SCOPES, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveTier:
    """One checkpoint tier of one campaign."""

    name: str
    survives: Scope
    every_steps: int
    stall_s: float
    persist_s: float
    load_s: float
    keep: int | None = None
    """Saves that are kept; None means all."""

    @property
    def save_s(self) -> float:
        """From the decision to save until the state is safe."""
        return self.stall_s + self.persist_s

    def outlives(self, lost: Scope) -> bool:
        """Return whether it can still be read after such a loss."""
        return SCOPES.index(self.survives) >= SCOPES.index(lost)


class Saves:
    """Saves at multiples of every tier's steps, from the nearest tier to the safest.

    Every tier saves on multiples of the nearest one's steps. Progress is counted in steps from the
    first one of the campaign; a save at progress p stands after step p and stops training for its
    stall.
    """

    def __init__(self, tiers: tuple[SaveTier, ...]) -> None:
        self.tiers = tiers
        self._stops = [(tier.every_steps, tier.stall_s) for tier in tiers]
        self.grid = tiers[0].every_steps
        """Steps between two saves of the nearest tier, and so of any."""
        self._stalls_s = sum(tier.stall_s for tier in tiers)
        self._stall_per_step_s = sum(tier.stall_s / tier.every_steps for tier in tiers)
        last = len(tiers) - 1
        self._readable: dict[Scope, tuple[int, ...]] = {
            lost: tuple(
                position
                for position, tier in enumerate(tiers)
                if tier.outlives(lost) or position == last
            )
            for lost in SCOPES
        }

    def readable(self, lost: Scope) -> tuple[int, ...]:
        """Positions of the tiers that can be read after such a loss; the last one always can."""
        return self._readable[lost]

    def wall_s(self, start: float, end: float, step_s: float) -> float:
        """Time from progress `start` to `end`, the save at the end included."""
        time_s = (end - start) * step_s
        for every, stall_s in self._stops:
            time_s += stall_s * (end // every - start // every)
        return time_s

    def advance(self, start: float, elapsed_s: float, step_s: float) -> tuple[float, float]:
        """Return the progress after some time, and the time in which it is reached.

        Progress stands still during a save; the time is later where one is under way, at its end.
        """
        save = (start // self.grid + 1) * self.grid
        since_s = elapsed_s - (save - start) * step_s
        if since_s < 0:
            return start + elapsed_s / step_s, elapsed_s
        if len(self.tiers) > 1:
            far = self._over_many_tiers(start, elapsed_s, step_s)
            return far, max(elapsed_s, self.wall_s(start, far, step_s))
        whole, rest_s = divmod(since_s, self.grid * step_s + self._stalls_s)
        open_s = rest_s - self._stalls_s
        far = save + whole * self.grid
        return (far, elapsed_s - open_s) if open_s < 0 else (far + open_s / step_s, elapsed_s)

    def _over_many_tiers(self, start: float, elapsed_s: float, step_s: float) -> float:
        """Return the progress after some time in which at least one tier saves."""
        # No more saves than one per interval and one more: this far it gets in any case.
        sure_s = max(0.0, elapsed_s - self._stalls_s)
        reached = start + sure_s / (step_s + self._stall_per_step_s)
        while True:
            far = reached + max(0.0, elapsed_s - self.wall_s(start, reached, step_s)) / step_s
            save = self.next_save(reached)
            if save > far:
                return far
            if self.wall_s(start, save, step_s) > elapsed_s:
                return save
            reached = save

    def next_save(self, progress: float) -> float:
        """Return the progress at which it saves next."""
        return (progress // self.grid + 1) * self.grid

    def last_safe(
        self, tier: SaveTier, start: float, elapsed_s: float, reached: float, step_s: float
    ) -> float | None:
        """Return the newest state of a tier that was written in time, of those after `start`."""
        save = reached // tier.every_steps * tier.every_steps
        while save > start:
            if self.wall_s(start, save, step_s) + tier.persist_s <= elapsed_s * (1 + 1e-12):
                return save
            save -= tier.every_steps
        return None
