"""One job: it trains, fails, recovers, waits for nodes, and grows again.

Steps and saves between two events are arithmetic (`saves`). A change of speed costs no event: the
stretch until then is booked, and the end of the training moves.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator
from enum import Enum
from math import floor, inf

import numpy as np
import simpy

from simulator.campaign.campaign_run import CampaignRun, Segment
from simulator.campaign.endless import NEVER
from simulator.campaign.failures import Failure
from simulator.campaign.groups import GroupOutages
from simulator.campaign.ledger import Ledger
from simulator.campaign.losses import Loss
from simulator.campaign.safe_points import SafePoints
from simulator.campaign.setting import CampaignSetting
from simulator.campaign.shapes import Shape
from simulator.campaign.trouble import Trouble
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.units import format_seconds


class _State(Enum):
    TRAINING = "training"
    PAUSED = "paused"
    WAITING = "waiting"


class _News(Enum):
    """What a job is told besides its failures."""

    NODE = "node"
    """A node is ready to be swapped in."""


_Message = Failure | _News
_Wait = Generator[simpy.Event, None, _Message | None]
_Steps = Generator[simpy.Event, None, None]


class Job:
    """The job of one replica, as the failures see it."""

    def __init__(
        self,
        env: simpy.Environment,
        setting: CampaignSetting,
        seed: np.random.SeedSequence,
        *,
        record: bool,
    ) -> None:
        self._env = env
        self._setting = setting
        self._n_steps = setting.terms.n_steps
        self._input_stall_s = setting.input_stall_s
        self._limit_s = self._n_steps * setting.full.step_s / NEVER
        self._trouble = Trouble(env, setting, seed, self)
        self._groups = GroupOutages(env, setting, self._trouble.pool, self.change)
        self._ledger = Ledger()
        self._failures: Counter[str] = Counter()
        self._segments: list[Segment] | None = [] if record else None
        self._idle_booked_s = 0.0
        self._unpaid_node_s = 0.0

        self._state = _State.PAUSED
        self._progress = 0.0
        self._safe = SafePoints(setting.saves)
        self._shape = setting.full
        self._worth_node_s = self._worth_of(setting.full)
        # The stretch since the speed changed last.
        self._began_s = 0.0
        self._step_s = setting.full.step_s
        self._running_share = 1.0
        # The sleep until something happens.
        self._end_s = 0.0
        self._inbox: deque[_Message] = deque()
        self._asleep_until_s: float | None = None
        self.life: simpy.Process = env.process(self._life())

    def outcome(self) -> CampaignRun:
        """Return what happened until now."""
        self._book_idle()
        return CampaignRun(
            calendar_s=self._env.now,
            paid_node_s=self._env.now * self._setting.fleet.n_units - self._unpaid_node_s,
            productive_node_s=self._ledger.productive,
            losses_node_s=self._ledger.losses,
            failures=self._failures,
            segments=tuple(self._segments or ()),
        )

    # What failures do to the job.

    @property
    def waits(self) -> bool:
        """Whether it stands still for want of nodes."""
        return self._state is _State.WAITING

    def stop(self, failure: Failure, n_removed: int) -> None:
        """Stop what holds the struck nodes."""
        self._failures[failure.cause.name] += 1
        apart = self._setting.n_groups > 1 and failure.cause.scope != "job"
        if apart and self._groups.stop(failure, n_removed):
            self.change()
        else:
            self._send(failure)

    def change(self) -> None:
        """Go on at the speed that devices, links and groups allow now."""
        if self._state is _State.TRAINING:
            self._book_training(self._reached(), goes_on=True)
            self._begin_stretch()
            if self._asleep_until_s is not None and self._end_s < self._asleep_until_s:
                self._wake()

    def node_back(self) -> None:
        """Take a repaired node in where that helps."""
        if self.waits:
            self._send(_News.NODE)
        elif self._setting.n_groups > 1:
            self._groups.node_back()
        elif self._state is _State.TRAINING and self._shape is not self._setting.full:
            grown = self._setting.shapes.best(self._trouble.pool.n_up)
            if grown is not None and grown.n_nodes > self._shape.n_nodes:
                self._send(_News.NODE)

    def spoil(self) -> None:
        """Make all states from now on corrupt."""
        self._safe.spoil(self._reached())

    def notice(self, failure: Failure) -> None:
        """Stop because of corruption, if it is still there."""
        if self._safe.corrupt:
            self._failures[failure.cause.name] += 1
            self._send(failure)

    def _send(self, message: _Message) -> None:
        self._inbox.append(message)
        if self._asleep_until_s is not None:
            self._wake()

    def _wake(self) -> None:
        self._asleep_until_s = None
        self.life.interrupt()

    # The life of the job.

    def _life(self) -> _Steps:
        message = yield from self._pause(Loss.INITIALISATION, self._setting.restart_s)
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
        self._state = _State.TRAINING
        self._begin_stretch()
        message = yield from self._sleep()
        reached = self._n_steps if message is None else self._reached()
        self._book_training(reached, message)
        self._state = _State.PAUSED
        return message

    def _begin_stretch(self) -> None:
        """Train on from here, as fast as things are now."""
        setting, trouble = self._setting, self._trouble
        self._began_s = self._env.now
        self._running_share = self._groups.running_share
        self._step_s = self._shape.step_s / self._running_share
        if trouble.slow:
            compute, network = (trouble.slowdown(what) for what in ("compute", "network"))
            self._step_s *= setting.clock.step_s(compute, network) / setting.full.step_s
        left_s = setting.saves.wall_s(self._progress, self._n_steps, self._step_s)
        self._end_s = self._began_s + left_s

    def _reached(self) -> float:
        """Progress at this moment."""
        if self._state is not _State.TRAINING:
            return self._progress
        elapsed_s = self._env.now - self._began_s
        return self._setting.saves.advance(self._progress, elapsed_s, self._step_s)

    def _recover(self, failure: Failure) -> _Steps:
        """Go back to what is safe and start again; a failure on the way starts it over."""
        again: _Message | None = failure
        while isinstance(again, Failure):
            cause = again.cause
            loss = Loss.PLANNED_MAINTENANCE if cause.planned else Loss.RESTART
            target, load_s = self._safe.restore(cause, self._progress)
            self._go_back(target)
            restart_s = self._setting.restart_s + load_s
            if again.removes:
                restart_s += self._setting.swap_s
            known = cause.effect == "corrupt" or cause.notice_s > 0
            noticed_s = 0.0 if known else cause.detection_s or 0.0
            if self._gather_nodes():
                again = yield from self._pause(loss, noticed_s + restart_s)
                continue
            again = yield from self._pause(loss, noticed_s)
            if again is None:
                yield from self._wait_for_nodes()
                again = yield from self._pause(loss, restart_s)

    def _go_back(self, step: float) -> None:
        """Undo the work after a step."""
        self._ledger.undo((self._progress - step) * self._worth_node_s)
        self._progress = step

    def _gather_nodes(self) -> bool:
        """Swap spares in and take the best shape; return whether there is one."""
        pool, setting = self._trouble.pool, self._setting
        whole = pool.n_in_job == setting.full.n_nodes and self._shape is setting.full
        if whole or self._groups.any_down:
            return True
        pool.fill(setting.full.n_nodes)
        shape = setting.shapes.best(pool.n_in_job)
        if shape is None:
            return False
        if shape is not self._shape:
            self._book_idle()
            self._shape = shape
            self._worth_node_s = self._worth_of(shape)
        pool.release(shape.n_nodes)
        return True

    def _worth_of(self, shape: Shape) -> float:
        """Node-seconds that a step is worth: those of the whole job, or fewer on fewer nodes."""
        whole = self._setting.full.n_nodes * self._setting.useful_step_s
        own_s = (shape.step_s - self._setting.input_stall_s) / self._setting.terms.slowdown
        return min(whole, shape.n_nodes * own_s)

    def _wait_for_nodes(self) -> _Steps:
        """Stand still until enough nodes are repaired."""
        self._state = _State.WAITING
        while not self._gather_nodes():
            yield from self._pause(Loss.WAITING_FOR_SPARES, inf)
        self._state = _State.PAUSED

    def _grow(self) -> _Wait:
        """Save, take the nodes in that came back, and start again; return a failure on the way."""
        self._go_back(float(floor(self._progress)))
        self._safe.save_all(self._progress)
        self._gather_nodes()
        stall_s = sum(tier.stall_s for tier in self._setting.saves.tiers)
        return (yield from self._pause(Loss.RESTART, stall_s + self._setting.restart_s))

    # Time.

    def _pause(self, loss: Loss, seconds: float) -> _Wait:
        """Stand still for some time, or until a failure; for a node too while waiting for one."""
        if seconds == 0:
            return None
        self._book_idle()
        began_s = self._env.now
        self._end_s = began_s + seconds
        message = yield from self._sleep()
        while isinstance(message, _News) and not self.waits:
            message = yield from self._sleep()
        elapsed_s = self._env.now - began_s
        unpaid_node_s = self._book_idle()
        self._ledger.lose(loss, self._shape.n_nodes * elapsed_s - unpaid_node_s)
        if self._segments is not None:
            self._record(loss, began_s, self._progress, message)
        return message

    def _sleep(self) -> _Wait:
        """Let time pass until the end, and strike what fails; return the first message or None."""
        env, trouble, inbox = self._env, self._trouble, self._inbox
        while not inbox:
            until_s = min(self._end_s, trouble.next_s)
            if self._limit_s < until_s < inf:
                raise self._never()
            self._asleep_until_s = until_s
            try:
                yield env.event() if until_s == inf else env.timeout(until_s - env.now)
            except simpy.Interrupt:
                continue
            self._asleep_until_s = None
            if env.now >= trouble.next_s:
                trouble.strike_next()
            elif env.now >= self._end_s and not inbox:
                return None
        return inbox.popleft()

    def _never(self) -> NoFeasiblePlan:
        share = self._progress / self._n_steps
        return NoFeasiblePlan(
            f"this training never finishes: after {format_seconds(self._env.now)} of simulated "
            f"time and {self._failures.total():,} failures it has done {share:.2%} of its steps",
            fix="shorten the restart, add spares, save more often or use fewer devices",
        )

    # Books.

    def _book_training(
        self, reached: float, message: _Message | None = None, *, goes_on: bool = False
    ) -> None:
        """Book the stretch since the speed changed last, and note what it made safe."""
        start, step_s, worth = self._progress, self._step_s, self._worth_node_s
        elapsed_s, steps = self._env.now - self._began_s, reached - start
        self._safe.note(start, elapsed_s, reached, step_s, goes_on=goes_on)
        all_nodes = self._shape.n_nodes
        nodes = all_nodes * self._running_share
        starved = nodes * self._input_stall_s
        losses = self._ledger.losses
        self._ledger.productive += steps * worth
        losses[Loss.CHECKPOINT_STALL] += nodes * max(0.0, elapsed_s - steps * step_s)
        losses[Loss.INPUT_STALL] += steps * starved
        losses[Loss.DEGRADED_SPEED] += steps * (nodes * step_s - worth - starved)
        losses[Loss.RESTART] += (all_nodes - nodes) * elapsed_s
        self._progress = reached
        if self._segments is not None:
            self._record(None, self._began_s, start, message)

    def _book_idle(self) -> float:
        """Book the nodes that held no ranks; return unpaid node-seconds beyond theirs."""
        elapsed_s = self._env.now - self._idle_booked_s
        self._idle_booked_s = self._env.now
        idle_node_s = (self._setting.fleet.n_units - self._shape.n_nodes) * elapsed_s
        unpaid_node_s = self._trouble.unpaid_node_s()
        taken = unpaid_node_s - self._unpaid_node_s
        self._unpaid_node_s = unpaid_node_s
        self._ledger.lose(Loss.IDLE, max(0.0, idle_node_s - taken))
        return max(0.0, taken - idle_node_s)

    def _record(
        self, loss: Loss | None, start_s: float, start_step: float, message: _Message | None
    ) -> None:
        assert self._segments is not None
        now = self._env.now
        if now > start_s:
            cause = message.cause.name if isinstance(message, Failure) else ""
            self._segments.append(Segment(start_s, now, loss, start_step, self._progress, cause))
