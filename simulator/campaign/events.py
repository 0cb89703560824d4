"""The campaign by events: one SimPy job, its failures, its repairs, from first to last token.

The cost follows events. Steps and saves between two of them are arithmetic (`saves`), the identity
of what fails is drawn when it fails (`failures`), and only nodes that are not where they were are
stored (`pool`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from math import floor, inf

import numpy as np
import simpy

from simulator.campaign.closed_form import NEVER
from simulator.campaign.failures import Failure
from simulator.campaign.groups import GroupOutages
from simulator.campaign.ledger import Ledger
from simulator.campaign.losses import Loss
from simulator.campaign.setting import CampaignSetting
from simulator.campaign.trouble import Trouble
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.units import format_seconds


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

    @property
    def goodput(self) -> float:
        """Useful over paid device time."""
        return self.productive_node_s / self.paid_node_s


def simulate_campaign(
    setting: CampaignSetting, *, replica: int = 0, record: bool = False
) -> CampaignRun:
    """Simulate one replica of a campaign.

    Replicas of one number meet the same failures under any plan on the same fleet. Raises
    NoFeasiblePlan where the campaign would take fifty times its failure-free time.
    """
    return _Campaign(setting, replica, record=record).run()


class _State(Enum):
    TRAINING = "training"
    PAUSED = "paused"
    WAITING = "waiting"


class _News(Enum):
    """What a job is told besides its failures."""

    CHANGE = "change"
    """The speed is another one."""
    NODE = "node"
    """A node is ready to be swapped in."""


_Message = Failure | _News
_Wait = Generator[simpy.Event, None, _Message | None]
_Steps = Generator[simpy.Event, None, None]


class _Campaign:
    """One replica: the job, as the failures see it."""

    def __init__(self, setting: CampaignSetting, replica: int, *, record: bool) -> None:
        self.setting = setting
        self.env = simpy.Environment()
        seed = np.random.SeedSequence([setting.seed, replica])
        self.trouble = Trouble(self.env, setting, seed, self)
        self.groups = GroupOutages(self.env, setting, self.trouble.pool, self.change)
        self.ledger = Ledger()
        self.failures: Counter[str] = Counter()
        self.segments: list[Segment] | None = [] if record else None
        self.state = _State.PAUSED
        self.shape = setting.full
        self.step_s = setting.full.step_s
        self.running_share = 1.0
        self.began_s = 0.0
        self.unpaid_node_s = 0.0
        self.progress = 0.0
        self.safe = [0.0] * len(setting.saves.tiers)
        self.corrupt_from = inf
        self.inbox: deque[_Message] = deque()
        self.bell: simpy.Event | None = None
        self.limit_s = setting.terms.n_steps * setting.full.step_s / NEVER

    def run(self) -> CampaignRun:
        """Run to the last token."""
        self.env.run(until=self.env.process(self._life()))
        return CampaignRun(
            calendar_s=self.env.now,
            paid_node_s=self.env.now * self.setting.fleet.n_units - self.unpaid_node_s,
            productive_node_s=self.ledger.productive,
            losses_node_s=dict(self.ledger.losses),
            failures=self.failures,
            segments=tuple(self.segments or ()),
        )

    # What failures do to the job.

    @property
    def waits(self) -> bool:
        return self.state is _State.WAITING

    def stop(self, failure: Failure, n_removed: int) -> None:
        self.failures[failure.cause.name] += 1
        apart = self.setting.n_groups > 1 and failure.cause.scope != "job"
        if apart and self.groups.stop(failure, n_removed):
            self.change()
        else:
            self._send(failure)

    def change(self) -> None:
        if self.state is _State.TRAINING:
            self._send(_News.CHANGE)

    def node_back(self) -> None:
        if self.waits:
            self._send(_News.NODE)
        elif self.setting.n_groups > 1:
            self.groups.node_back()
        elif self.state is _State.TRAINING and self.shape is not self.setting.full:
            grown = self.setting.shapes.best(self.trouble.pool.n_up)
            if grown is not None and grown.n_nodes > self.shape.n_nodes:
                self._send(_News.NODE)

    def spoil(self) -> None:
        self.corrupt_from = min(self.corrupt_from, self._reached())

    def notice(self, failure: Failure) -> None:
        if self.corrupt_from < inf:
            self.failures[failure.cause.name] += 1
            self._send(failure)

    def _send(self, message: _Message) -> None:
        self.inbox.append(message)
        if self.bell is not None and not self.bell.triggered:
            self.bell.succeed()

    # The life of the job.

    def _life(self) -> _Steps:
        message = yield from self._pause(Loss.INITIALISATION, self.setting.restart_s)
        while True:
            if isinstance(message, Failure):
                yield from self._recover(message)
            message = yield from self._train()
            if message is None:
                return
            if message is _News.NODE:
                message = yield from self._grow()

    def _train(self) -> _Wait:
        """Train until the last step (None), a failure, or a node that makes the job larger."""
        saves, n_steps = self.setting.saves, self.setting.terms.n_steps
        self.state = _State.TRAINING
        while True:
            self.began_s = self.env.now
            self.running_share = self.groups.running_share
            self.step_s = self._step_time_s()
            left_s = saves.wall_s(self.progress, n_steps, self.step_s)
            message = yield from self._sleep(left_s)
            done = message is None
            self._book_training(n_steps if done else self._reached(), message)
            if message is not _News.CHANGE:
                self.state = _State.PAUSED
                return message

    def _step_time_s(self) -> float:
        """Time per step as things are now."""
        step_s = self.shape.step_s / self.running_share
        if self.trouble.slow:
            compute, network = (self.trouble.slowdown(what) for what in ("compute", "network"))
            step_s *= self.setting.clock.step_s(compute, network) / self.setting.full.step_s
        return step_s

    def _reached(self) -> float:
        """Progress at this moment."""
        if self.state is not _State.TRAINING:
            return self.progress
        elapsed_s = self.env.now - self.began_s
        return self.setting.saves.advance(self.progress, elapsed_s, self.step_s)

    def _book_training(self, reached: float, message: _Message | None) -> None:
        """Book the stretch since training began, and note what it made safe."""
        elapsed_s, steps = self.env.now - self.began_s, reached - self.progress
        for position, tier in enumerate(self.setting.saves.tiers):
            # A save under way goes on while only the speed changes.
            late_s = tier.persist_s if message is _News.CHANGE else 0.0
            saved = self.setting.saves.last_safe(
                tier, self.progress, elapsed_s + late_s, reached, self.step_s
            )
            if saved is not None:
                self.safe[position] = saved
        nodes = self.shape.n_nodes * self.running_share
        worth = self._useful_node_s()
        training_s = min(elapsed_s, steps * self.step_s)
        self.ledger.productive += steps * worth
        self.ledger.lose(Loss.CHECKPOINT_STALL, nodes * (elapsed_s - training_s))
        starved = nodes * self.setting.input_stall_s
        self.ledger.lose(Loss.INPUT_STALL, steps * starved)
        self.ledger.lose(Loss.DEGRADED_SPEED, steps * (nodes * self.step_s - worth - starved))
        self.ledger.lose(Loss.RESTART, (self.shape.n_nodes - nodes) * elapsed_s)
        self._book_idle(elapsed_s)
        self._record(None, self.began_s, self.progress, reached, message)
        self.progress = reached

    def _useful_node_s(self) -> float:
        """Node-seconds that a step is worth: those of the whole job, or fewer on fewer nodes."""
        whole = self.setting.full.n_nodes * self.setting.useful_step_s
        own_s = self.shape.step_s - self.setting.input_stall_s
        return min(whole, self.shape.n_nodes * own_s)

    def _recover(self, failure: Failure) -> _Steps:
        """Go back to what is safe and start again; a failure on the way starts it over."""
        again: _Message | None = failure
        while isinstance(again, Failure):
            cause = again.cause
            loss = Loss.PLANNED_MAINTENANCE if cause.planned else Loss.RESTART
            restart_s = self.setting.restart_s + self._roll_back(again)
            if again.removes:
                restart_s += self.setting.swap_s
            noticed_s = 0.0 if cause.effect == "corrupt" else cause.detection_s or 0.0
            if self._gather_nodes():
                again = yield from self._pause(loss, noticed_s + restart_s)
                continue
            again = yield from self._pause(loss, noticed_s)
            if again is None:
                yield from self._wait_for_nodes()
                again = yield from self._pause(loss, restart_s)

    def _roll_back(self, failure: Failure) -> float:
        """Return to the newest state that can be read; the time that loading it takes."""
        cause, saves, reached = failure.cause, self.setting.saves, self.progress
        readable = saves.readable(cause.scope)
        if cause.effect == "corrupt":
            position, target = readable[-1], self._before_corruption()
        else:
            position = max(readable, key=self.safe.__getitem__)
            target = self.safe[position]
            if 0 < cause.notice_s >= saves.tiers[position].save_s:
                target = max(target, float(floor(reached)))
        if reached > target:
            self.ledger.undo((reached - target) * self._useful_node_s())
            self.progress = target
        for other in range(position):
            self.safe[other] = min(self.safe[other], target) if other in readable else 0.0
        self.safe[position] = target
        if target <= self.corrupt_from:
            self.corrupt_from = inf
        return saves.tiers[position].load_s

    def _before_corruption(self) -> float:
        """Newest state of the safest tier from before the corruption, if it is still kept."""
        tier, newest = self.setting.saves.tiers[-1], self.safe[-1]
        if newest <= self.corrupt_from:
            return newest
        target = floor(self.corrupt_from / tier.every_steps) * tier.every_steps
        kept = inf if tier.keep is None else tier.keep
        return float(target) if newest - target < kept * tier.every_steps else 0.0

    def _gather_nodes(self) -> bool:
        """Swap spares in and take the best shape; return whether there is one."""
        pool, setting = self.trouble.pool, self.setting
        whole = pool.n_in_job == setting.full.n_nodes and self.shape is setting.full
        if whole or self.groups.any_down:
            return True
        pool.fill(setting.full.n_nodes)
        shape = setting.shapes.best(pool.n_in_job)
        if shape is None:
            return False
        self.shape = shape
        pool.release(shape.n_nodes)
        return True

    def _wait_for_nodes(self) -> _Steps:
        """Stand still until enough nodes are repaired."""
        self.state = _State.WAITING
        while not self._gather_nodes():
            yield from self._pause(Loss.WAITING_FOR_SPARES, inf)
        self.state = _State.PAUSED

    def _grow(self) -> _Wait:
        """Save, take the nodes in that came back, and start again; return a failure on the way."""
        whole = float(floor(self.progress))
        self.ledger.undo((self.progress - whole) * self._useful_node_s())
        self.progress = whole
        self.safe = [whole] * len(self.safe)
        self._gather_nodes()
        stall_s = sum(tier.stall_s for tier in self.setting.saves.tiers)
        return (yield from self._pause(Loss.RESTART, stall_s + self.setting.restart_s))

    def _pause(self, loss: Loss, seconds: float) -> _Wait:
        """Stand still for some time, or until a failure; for a node too while waiting for one."""
        if seconds == 0:
            return None
        began_s = self.env.now
        end_s = began_s + seconds
        message = yield from self._sleep(seconds)
        while isinstance(message, _News) and not self.waits:
            message = yield from self._sleep(end_s - self.env.now)
        elapsed_s = self.env.now - began_s
        unpaid_node_s = self._book_idle(elapsed_s)
        self.ledger.lose(loss, self.shape.n_nodes * elapsed_s - unpaid_node_s)
        self._record(loss, began_s, self.progress, self.progress, message)
        return message

    def _sleep(self, seconds: float) -> _Wait:
        """Let time pass, and strike what fails on the way; return the first message, or None."""
        env, trouble, inbox = self.env, self.trouble, self.inbox
        messages_may_come = trouble.disturbs or self.waits
        end_s = env.now + seconds
        while not inbox:
            strike_s = trouble.next_s
            until_s = min(end_s, strike_s)
            if self.limit_s < until_s < inf:
                raise self._never()
            if messages_may_come:
                yield self._bell(until_s - env.now)
            else:
                yield env.timeout(until_s - env.now)
            if env.now >= strike_s:
                trouble.strike_next()
            elif env.now >= end_s and not inbox:
                return None
        return inbox.popleft()

    def _bell(self, seconds: float) -> simpy.Event:
        """Return an event that rings after some time, or when a message comes."""
        bell = self.bell = self.env.event()

        def ring(_: simpy.Event) -> None:
            if not bell.triggered:
                bell.succeed()

        if seconds < inf:
            self.env.timeout(seconds).callbacks.append(ring)
        return bell

    def _never(self) -> NoFeasiblePlan:
        share = self.progress / self.setting.terms.n_steps
        return NoFeasiblePlan(
            f"this training never finishes: after {format_seconds(self.env.now)} of simulated time "
            f"and {self.failures.total():,} failures it has done {share:.2%} of its steps",
            fix="shorten the restart, add spares, save more often or use fewer devices",
        )

    # Books.

    def _book_idle(self, elapsed_s: float) -> float:
        """Book the nodes without ranks; return unpaid node-seconds that were counted with ranks."""
        idle_node_s = (self.setting.fleet.n_units - self.shape.n_nodes) * elapsed_s
        unpaid_node_s = self.trouble.unpaid_node_s()
        taken = unpaid_node_s - self.unpaid_node_s
        self.unpaid_node_s = unpaid_node_s
        self.ledger.lose(Loss.IDLE, max(0.0, idle_node_s - taken))
        return max(0.0, taken - idle_node_s)

    def _record(
        self,
        loss: Loss | None,
        start_s: float,
        start_step: float,
        end_step: float,
        message: _Message | None,
    ) -> None:
        if self.segments is not None and self.env.now > start_s:
            cause = message.cause.name if isinstance(message, Failure) else ""
            self.segments.append(Segment(start_s, self.env.now, loss, start_step, end_step, cause))
