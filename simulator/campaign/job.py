"""One job: it trains, fails, recovers, waits for nodes, and grows again.

A SimPy process goes from one phase of the job to the next. What happens within a phase and does not
end it (a group restarts apart, a node is repaired, something turns slow) is a call in a heap: the
stretch of training until then is booked, and its end moves.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator
from enum import Enum
from math import floor, inf

import numpy as np
import simpy

from simulator.campaign.agenda import Agenda
from simulator.campaign.campaign_run import CampaignRun, Segment, Strike
from simulator.campaign.endless import NEVER
from simulator.campaign.failures import Failure
from simulator.campaign.groups import GroupOutages
from simulator.campaign.ledger import Ledger
from simulator.campaign.losses import Loss
from simulator.campaign.setting import CampaignSetting
from simulator.campaign.shapes import Shape
from simulator.campaign.training import Training
from simulator.campaign.trouble import Trouble
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.units import format_seconds


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
        self._limit_s = setting.terms.n_steps * setting.full.step_s / NEVER
        self._agenda = Agenda()
        self._trouble = Trouble(self._agenda, setting, seed, self)
        self._apart = setting.n_groups > 1
        self._groups = GroupOutages(self._agenda, setting, self._trouble.pool, self._regroup)
        self._ledger = Ledger()
        self._training = Training(setting, self._ledger)
        self._failures: Counter[str] = Counter()
        self._segments: list[Segment] | None = [] if record else None
        self._strikes: list[Strike] = []
        self._idle_booked_s = 0.0
        self._unpaid_node_s = 0.0

        self.waits = False
        """Whether it stands still for want of nodes."""
        self._trains = False
        self._shape = setting.full
        self._end_s = 0.0
        """When the phase ends if nothing happens."""
        self._stretch = (0.0, 0.0)
        """Time and progress when the speed changed last."""
        self._inbox: deque[_Message] = deque()
        self.life: simpy.Process = env.process(self._life())

    def outcome(self) -> CampaignRun:
        """Return what happened until now."""
        self._book_idle()
        return CampaignRun(
            calendar_s=self._agenda.now_s,
            paid_node_s=self._agenda.now_s * self._setting.fleet.n_units - self._unpaid_node_s,
            productive_node_s=self._ledger.productive,
            losses_node_s=self._ledger.losses,
            failures=self._failures,
            segments=tuple(self._segments or ()),
            strikes=tuple(self._strikes),
        )

    # What failures do to the job.

    def stop(self, failure: Failure, n_removed: int) -> None:
        """Stop what holds the struck nodes."""
        self._failures[failure.cause.name] += 1
        apart = self._apart and failure.cause.scope != "job"
        apart = apart and self._groups.stop(failure, n_removed)
        if self._segments is not None:
            self._strikes.append(Strike(self._agenda.now_s, failure.cause.name, apart))
        if apart:
            self._regroup(failure)
        else:
            self._inbox.append(failure)

    def change(self) -> None:
        """Go on as fast as devices and links allow now."""
        if self._trains:
            self._training.set_slowness(self._agenda.now_s, self._slowness())
            self._record_change()
            self._end_s = self._training.end_s

    def _regroup(self, failure: Failure | None = None) -> None:
        """Go on with the groups that run now, after a failure or a restart of some."""
        if self._trains:
            training = self._training
            training.set_share(self._agenda.now_s, self._groups.running_share)
            if self._segments is not None:
                training.reach(self._agenda.now_s)
                self._record_change(failure)
            self._end_s = training.end_s

    def _record_change(self, failure: Failure | None = None) -> None:
        self._record(None, self._stretch, failure)
        self._stretch = self._here()

    def node_back(self) -> None:
        """Take a repaired node in where that helps."""
        if self.waits:
            self._inbox.append(_News.NODE)
        elif self._apart:
            self._groups.node_back()
        elif self._trains and self._shape is not self._setting.full:
            grown = self._setting.shapes.best(self._trouble.pool.n_up)
            if grown is not None and grown.n_nodes > self._shape.n_nodes:
                self._inbox.append(_News.NODE)

    def spoil(self) -> None:
        """Make all states from now on corrupt."""
        if self._trains:
            self._training.reach(self._agenda.now_s)
        self._training.safe.spoil(self._training.progress)

    def notice(self, failure: Failure) -> None:
        """Stop because of corruption, if it is still there."""
        if self._training.safe.corrupt:
            self._failures[failure.cause.name] += 1
            if self._segments is not None:
                self._strikes.append(Strike(self._agenda.now_s, failure.cause.name, apart=False))
            self._inbox.append(failure)

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
        self._trains = True
        self._stretch = self._here()
        self._training.start(
            self._agenda.now_s,
            self._shape,
            self._worth_of(self._shape),
            share=self._groups.running_share,
            slowness=self._slowness(),
        )
        self._end_s = self._training.end_s
        message = yield from self._sleep()
        self._training.stop(self._agenda.now_s, finished=message is None)
        self._record(None, self._stretch, message)
        self._trains = False
        return message

    def _slowness(self) -> float:
        """How many times longer a step takes than on healthy devices."""
        if not self._trouble.slow:
            return 1.0
        compute, network = (self._trouble.slowdown(what) for what in ("compute", "network"))
        return self._setting.clock.step_s(compute, network) / self._setting.full.step_s

    def _recover(self, failure: Failure) -> _Steps:
        """Go back to what is safe and start again; a failure on the way starts it over."""
        again: _Message | None = failure
        while isinstance(again, Failure):
            cause = again.cause
            loss = Loss.PLANNED_MAINTENANCE if cause.planned else Loss.RESTART
            training = self._training
            target, load_s = training.safe.restore(cause, training.progress)
            training.go_back(target)
            restart_s = self._setting.restart_s + load_s
            if again.removes:
                missing = self._setting.full.n_nodes - self._trouble.pool.n_in_job
                restart_s += self._setting.spares.swap_s(missing)
            known = cause.effect == "corrupt" or cause.notice_s > 0
            noticed_s = 0.0 if known else cause.detection_s or 0.0
            if self._gather_nodes():
                again = yield from self._pause(loss, noticed_s + restart_s)
                continue
            again = yield from self._pause(loss, noticed_s)
            if again is None:
                yield from self._wait_for_nodes()
                again = yield from self._pause(loss, restart_s)

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
        pool.release(shape.n_nodes)
        return True

    def _worth_of(self, shape: Shape) -> float:
        """Node-seconds that a step is worth: those of the whole job, or fewer on fewer nodes."""
        whole = self._setting.full.n_nodes * self._setting.useful_step_s
        own_s = (shape.step_s - self._setting.input_stall_s) / self._setting.terms.slowdown
        return min(whole, shape.n_nodes * own_s)

    def _wait_for_nodes(self) -> _Steps:
        """Stand still until enough nodes are repaired."""
        self.waits = True
        while not self._gather_nodes():
            yield from self._pause(Loss.WAITING_FOR_SPARES, inf)
        self.waits = False

    def _grow(self) -> _Wait:
        """Save, take the nodes in that came back, and start again; return a failure on the way."""
        training = self._training
        training.go_back(float(floor(training.progress)))
        training.safe.save_all(training.progress)
        self._gather_nodes()
        stall_s = sum(tier.stall_s for tier in self._setting.saves.tiers)
        return (yield from self._pause(Loss.RESTART, stall_s + self._setting.restart_s))

    # Time.

    def _pause(self, loss: Loss, seconds: float) -> _Wait:
        """Stand still for some time, or until a failure; for a node too while waiting for one."""
        if seconds == 0:
            return None
        self._book_idle()
        began = self._here()
        self._end_s = self._agenda.now_s + seconds
        message = yield from self._sleep()
        while isinstance(message, _News) and not self.waits:
            message = yield from self._sleep()
        elapsed_s = self._agenda.now_s - began[0]
        unpaid_node_s = self._book_idle()
        self._ledger.lose(loss, self._shape.n_nodes * elapsed_s - unpaid_node_s)
        self._record(loss, began, message)
        return message

    def _sleep(self) -> _Wait:
        """Let time pass until the end, and strike what fails; return the first message or None."""
        agenda, trouble, inbox, limit_s = self._agenda, self._trouble, self._inbox, self._limit_s
        while not inbox:
            end_s, due_s, failure_s = self._end_s, agenda.next_s, trouble.next_s
            if end_s > limit_s:  # noqa: PLR1730  # as in the agenda
                end_s = limit_s
            if failure_s < due_s and failure_s <= end_s:
                trouble.strike_next()
            elif due_s <= end_s:
                agenda.run_next()
            elif self._end_s > limit_s:
                raise self._never()
            else:
                agenda.now_s = end_s
                if self._phase_is_over():
                    break
        yield self._env.timeout(max(0.0, agenda.now_s - self._env.now))
        return inbox.popleft() if inbox else None

    def _phase_is_over(self) -> bool:
        """Return whether the phase has ended, where it could; if not, say when it may."""
        if not self._trains:
            return True
        self._training.reach(self._agenda.now_s)
        self._end_s = self._training.end_s
        return self._end_s <= self._agenda.now_s * (1 + 1e-12)

    def _never(self) -> NoFeasiblePlan:
        share = self._training.progress / self._setting.terms.n_steps
        after = format_seconds(self._agenda.now_s)
        return NoFeasiblePlan(
            f"this training never finishes: after {after} of simulated time and "
            f"{self._failures.total():,} failures it has done {share:.2%} of its steps",
            fix="shorten the restart, add spares, save more often or use fewer devices",
        )

    # Books.

    def _book_idle(self) -> float:
        """Book the nodes that held no ranks; return unpaid node-seconds beyond theirs."""
        elapsed_s = self._agenda.now_s - self._idle_booked_s
        self._idle_booked_s = self._agenda.now_s
        idle_node_s = (self._setting.fleet.n_units - self._shape.n_nodes) * elapsed_s
        unpaid_node_s = self._trouble.unpaid_node_s()
        taken = unpaid_node_s - self._unpaid_node_s
        self._unpaid_node_s = unpaid_node_s
        self._ledger.lose(Loss.IDLE, max(0.0, idle_node_s - taken))
        return max(0.0, taken - idle_node_s)

    def _here(self) -> tuple[float, float]:
        """Return the time and the progress."""
        return self._agenda.now_s, self._training.progress

    def _record(
        self, loss: Loss | None, began: tuple[float, float], message: _Message | None
    ) -> None:
        """Record what happened since, where that is asked for."""
        start_s, start_step = began
        now_s, step = self._here()
        if self._segments is not None and now_s > start_s:
            cause = message.cause.name if isinstance(message, Failure) else ""
            self._segments.append(Segment(start_s, now_s, loss, start_step, step, cause))
