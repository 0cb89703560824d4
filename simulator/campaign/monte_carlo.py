"""The campaign by vectorised renewal Monte Carlo: all replicas at once, failure by failure.

The same model as the events, where failures come at a constant rate and the job waits for its
nodes: thousands of replicas in the time of one. Everything else is left to the events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.campaign.endless import NEVER
from simulator.campaign.saves import SaveTier
from simulator.campaign.setting import CampaignSetting
from simulator.cost.plan_table import FloatArray, IntArray
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.reliability import SCOPES, FailureCause, Scope
from simulator.spec.units import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRuns:
    """n replicas of a campaign; all arrays have shape (n,)."""

    goodput: FloatArray
    calendar_s: FloatArray
    n_failures: IntArray


def unsupported(setting: CampaignSetting) -> str | None:
    """Return what of a campaign only the events can simulate, or None."""
    causes = setting.terms.causes
    reasons = (
        (setting.recovery != "wait", f"recovery {setting.recovery}"),
        (bool(setting.recorded), "recorded outages"),
        (any(cause.effect != "stop" for cause in causes), "slow or corrupt nodes"),
        (any(cause.notice_s > 0 for cause in causes), "warnings"),
        (any(cause.followers > 0 for cause in causes), "bursts"),
        (any(phase.shape != 1 for cause in causes for phase in cause.life), "ageing parts"),
        (any(cause.scope not in ("job", "node") for cause in causes), "racks, pods and regions"),
        (setting.repair.n_crews is not None, "a limited number of repair crews"),
        (setting.spares.n_hot > 0, "hot spares"),
        (len(setting.spares.pools) > 1, "spares of several kinds"),
    )
    return next((reason for applies, reason in reasons if applies), None)


def renewal_campaigns(setting: CampaignSetting, n_replicas: int) -> RenewalRuns:
    """Simulate n replicas. Raises ValueError for what only the events can simulate."""
    reason = unsupported(setting)
    if reason is not None:
        raise ValueError(f"{reason}: only the event simulation can do that")
    replicas = _Replicas(setting, n_replicas)
    while len(replicas.running):
        replicas.step()
    useful = setting.terms.n_steps * setting.useful_step_s * setting.fleet.n_nodes
    return RenewalRuns(
        goodput=useful / (replicas.time_s * setting.fleet.n_units),
        calendar_s=replicas.time_s,
        n_failures=replicas.n_failures,
    )


class _Replicas:
    """The state of all replicas; `running` indexes those that have not finished."""

    def __init__(self, setting: CampaignSetting, n: int) -> None:
        self.setting = setting
        self.generator = np.random.default_rng(np.random.SeedSequence([setting.seed, 2**32 - 1]))
        causes = setting.terms.causes
        rates = np.array([_rate_s(cause, setting) for cause in causes])
        self.rate_s = rates.sum()
        self.thresholds = np.cumsum(rates) / (rates.sum() or 1.0)
        self.scopes = np.array([SCOPES.index(cause.scope) for cause in causes])
        self.detection_s = np.array([cause.detection_s or 0.0 for cause in causes])
        self.repair_s = np.array([cause.repair_s or setting.repair.mean_s for cause in causes])
        self.removal = np.array(
            [0.0 if cause.scope == "job" else cause.repair_fraction for cause in causes]
        )
        self.running = np.arange(n)
        self.time_s = np.zeros(n)
        self.pause_s = np.full(n, setting.restart_s)
        self.progress = np.zeros(n)
        self.safe = np.zeros((n, len(setting.saves.tiers)))
        self.back_s = np.full((n, setting.fleet.n_spares + 1), -np.inf)
        self.n_failures = np.zeros(n, dtype=np.int64)

    def step(self) -> None:
        """Let every running replica meet its next failure, or finish before it."""
        setting, rows = self.setting, self.running
        step_s, n_steps = setting.full.step_s, setting.terms.n_steps
        gap_s = np.full(len(rows), np.inf)
        if self.rate_s > 0:
            gap_s = self.generator.exponential(1 / self.rate_s, len(rows))
        start, pause_s = self.progress[rows], self.pause_s[rows]
        left_s = pause_s + wall_s(setting.saves.tiers, start, n_steps, step_s)
        done = left_s <= gap_s
        self.time_s[rows] += np.where(done, left_s, gap_s)
        trained_s = np.maximum(0.0, gap_s - pause_s)
        self.running = rows[~done]
        self._train(self.running, start[~done], trained_s[~done])
        if len(self.running):
            self._strike(self.running)

    def _train(self, rows: IntArray, start: FloatArray, elapsed_s: FloatArray) -> None:
        tiers, step_s = self.setting.saves.tiers, self.setting.full.step_s
        reached = advance(tiers, start, elapsed_s, step_s)
        for position, tier in enumerate(tiers):
            saved = last_safe(tiers, tier, start, elapsed_s, reached, step_s)
            self.safe[rows, position] = np.maximum(self.safe[rows, position], saved)
        self.progress[rows] = reached

    def _strike(self, rows: IntArray) -> None:
        self.n_failures[rows] += 1
        limit_s = self.setting.terms.n_steps * self.setting.full.step_s / NEVER
        if self.time_s[rows].min() > limit_s:
            raise NoFeasiblePlan("this training never finishes")
        drawn = np.searchsorted(self.thresholds, self.generator.random(len(rows)), side="right")
        removed = self.generator.random(len(rows)) < self.removal[drawn]
        for lost in SCOPES:
            struck = self.scopes[drawn] == SCOPES.index(lost)
            if struck.any():
                self._roll_back(rows[struck], lost)
        self.pause_s[rows] += self.detection_s[drawn] + self.setting.restart_s
        self.pause_s[rows] += np.where(removed, self.setting.spares.swap_s(1), 0.0)
        if not self.setting.fleet.endless_spares:
            self._wait(rows[removed], drawn[removed])

    def _roll_back(self, rows: IntArray, lost: Scope) -> None:
        """Return to the newest state that can be read; the pause becomes the time to load it."""
        saves = self.setting.saves
        readable = np.array(saves.readable(lost))
        best = readable[self.safe[np.ix_(rows, readable)].argmax(axis=1)]
        target = self.safe[rows, best]
        for position in range(len(saves.tiers)):
            kept = self.safe[rows, position]
            nearer = np.minimum(kept, target) if position in readable else np.zeros_like(kept)
            self.safe[rows, position] = np.where(position < best, nearer, kept)
        self.progress[rows] = target
        self.pause_s[rows] = np.array([tier.load_s for tier in saves.tiers])[best]

    def _wait(self, rows: IntArray, drawn: IntArray) -> None:
        """Send one node of each replica to repair, and wait where no spare is left."""
        repair_s = self.setting.repair.draw_many_s(self.repair_s[drawn], self.generator)
        slot = self.back_s[rows].argmin(axis=1)  # one that is back, or the first to come back
        self.back_s[rows, slot] = self.time_s[rows] + repair_s
        noticed_s = self.time_s[rows] + self.detection_s[drawn]
        self.time_s[rows] += np.maximum(0.0, self.back_s[rows].min(axis=1) - noticed_s)


def _rate_s(cause: FailureCause, setting: CampaignSetting) -> float:
    n_devices = setting.fleet.n_nodes * setting.fleet.devices_per_node
    weight = 1.0
    if cause.scope != "job":
        members = setting.cohorts.members
        weight = sum(c.size * c.rate_factor for c in members) / setting.cohorts.n_units
    per_day = cause.failures_per_device_day * n_devices + cause.failures_per_job_day
    return weight * per_day / DAY_S


def wall_s(
    tiers: tuple[SaveTier, ...], start: FloatArray, end: FloatArray | float, step_s: float
) -> FloatArray:
    """Time from progress `start` to `end`, as `Saves.wall_s`."""
    time_s = (end - start) * step_s
    for tier in tiers:
        time_s = time_s + tier.stall_s * (end // tier.every_steps - start // tier.every_steps)
    return np.asarray(time_s)


def advance(
    tiers: tuple[SaveTier, ...], start: FloatArray, elapsed_s: FloatArray, step_s: float
) -> FloatArray:
    """Progress after some time, as `Saves.advance`."""
    stalls_s = sum(tier.stall_s for tier in tiers)
    per_step_s = step_s + sum(tier.stall_s / tier.every_steps for tier in tiers)
    reached = start + np.maximum(0.0, elapsed_s - stalls_s) / per_step_s
    going = np.ones(len(start), dtype=np.bool_)
    while going.any():
        spare_s = np.maximum(0.0, elapsed_s - wall_s(tiers, start, reached, step_s))
        far = reached + spare_s / step_s
        save = np.min([(reached // t.every_steps + 1) * t.every_steps for t in tiers], axis=0)
        free = going & (save > far)
        stuck = going & ~free & (wall_s(tiers, start, save, step_s) > elapsed_s)
        reached = np.where(free, far, np.where(going, save, reached))
        going = going & ~free & ~stuck
    return reached


def last_safe(
    tiers: tuple[SaveTier, ...],
    tier: SaveTier,
    start: FloatArray,
    elapsed_s: FloatArray,
    reached: FloatArray,
    step_s: float,
) -> FloatArray:
    """Newest state of a tier that was written in time, as `Saves.last_safe`; 0 where none was."""
    save = reached // tier.every_steps * tier.every_steps
    while True:
        written_s = wall_s(tiers, start, save, step_s) + tier.persist_s
        late = (save > start) & (written_s > elapsed_s * (1 + 1e-12))
        if not late.any():
            return np.where(save > start, save, 0.0)
        save = np.where(late, save - tier.every_steps, save)
