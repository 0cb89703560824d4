"""What failures do to the nodes: take them away, slow them down, spoil what they compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from math import inf
from typing import Protocol

import numpy as np

from simulator.campaign.agenda import Agenda
from simulator.campaign.failures import Failure, failure_stream
from simulator.campaign.pool import NodePool
from simulator.campaign.repair import RepairShop
from simulator.campaign.setting import CampaignSetting
from simulator.spec.reliability import FailureCause


class Job(Protocol):
    """What a job lets failures do to it."""

    @property
    def waits(self) -> bool:
        """Whether it stands still for want of nodes."""

    def stop(self, failure: Failure, n_removed: int) -> None:
        """Something that holds ranks has failed, and so many of the job's nodes are gone."""

    def change(self) -> None:
        """The speed of the job is another one."""

    def node_back(self) -> None:
        """A repaired node waits as a spare."""

    def spoil(self) -> None:
        """All states from now on are corrupt."""

    def notice(self, failure: Failure) -> None:
        """The corruption is noticed."""


class Trouble:
    """The failures of one replica, and the nodes they strike."""

    def __init__(
        self,
        agenda: Agenda,
        setting: CampaignSetting,
        seed: np.random.SeedSequence,
        job: Job,
    ) -> None:
        strikes, repairs, slowness = seed.spawn(3)
        self.pool = NodePool(setting.fleet)
        self.slow: Counter[tuple[str, float]] = Counter()
        """How many events slow the job down now, by what they slow and how much."""
        self._agenda = agenda
        self._setting = setting
        self._job = job
        self._stream = failure_stream(
            setting.terms.causes, setting.fleet, setting.cohorts, setting.recorded, strikes
        )
        self._next = next(self._stream, None)
        self.next_s = inf if self._next is None else self._next.time_s
        """When something fails next."""
        self._shop = RepairShop(agenda, setting.repair, repairs, self._give_back)
        self._slowness = np.random.default_rng(slowness)
        self._unpaid: set[int] = set()
        self._unpaid_node_s = 0.0
        self._unpaid_since_s = 0.0

    def strike_next(self) -> None:
        """Let the next failure happen. Nothing fails while the job waits for nodes."""
        failure = self._next
        assert failure is not None
        self._agenda.now_s = failure.time_s
        self._next = later = next(self._stream, None)
        self.next_s = inf if later is None else later.time_s
        if self._job.waits:
            return
        if failure.cause.effect == "stop":
            self._stop(failure)
        elif self._holds_ranks(failure):
            if failure.cause.effect == "slow":
                self._slow_down(failure)
            else:
                self._spoil(failure)

    def unpaid_node_s(self) -> float:
        """Node-seconds until now of nodes that the provider took away; nobody pays for them."""
        if self._unpaid:
            self._count_unpaid()
        return self._unpaid_node_s

    def _count_unpaid(self) -> None:
        self._unpaid_node_s += len(self._unpaid) * (self._agenda.now_s - self._unpaid_since_s)
        self._unpaid_since_s = self._agenda.now_s

    def slowdown(self, what: str) -> float:
        """How much slower the slowest of the job's devices or links is."""
        return max((factor for kind, factor in self.slow if kind == what), default=1.0)

    def _holds_ranks(self, failure: Failure) -> bool:
        anywhere = failure.cause.scope == "job" or self._setting.fleet.endless_spares
        return anywhere or self.pool.in_job(failure.node)

    def _stop(self, failure: Failure) -> None:
        holds_ranks = self._holds_ranks(failure)
        before = self.pool.n_in_job
        if failure.removes and (holds_ranks or self._burns(failure.node)):
            self._take_away(failure)
        if holds_ranks:
            self._job.stop(failure, before - self.pool.n_in_job)

    def _burns(self, node: int) -> bool:
        """Return whether a node fails although it holds no ranks."""
        n_hot = self._setting.spares.n_hot
        return n_hot > 0 and self.pool.is_spare(node) and self.pool.spare_rank(node) < n_hot

    def _take_away(self, failure: Failure) -> None:
        """Send the struck nodes to repair."""
        if self._setting.fleet.endless_spares or not failure.removes:
            return
        cause = failure.cause
        for node in self._struck(failure):
            if not self.pool.remove(node):
                continue
            if cause.component == "preemption":
                self._count_unpaid()
                self._unpaid.add(node)
            if failure.back_s is None:
                self._shop.take(node, cause.repair_s)
            else:
                self._shop.keep(node, failure.back_s - failure.time_s)

    def _struck(self, failure: Failure) -> Iterable[int]:
        """Return all nodes that go with one event."""
        fleet = self._setting.fleet
        struck = fleet.domain(failure.cause.scope, failure.node)
        if failure.n_followers == 0:
            return struck
        followers = range(struck.stop, struck.stop + failure.n_followers)
        return (*struck, *(node % fleet.n_units for node in followers))

    def _give_back(self, node: int) -> None:
        if node in self._unpaid:
            self._count_unpaid()
            self._unpaid.discard(node)
        self.pool.bring_back(node)
        self._job.node_back()

    def _slow_down(self, failure: Failure) -> None:
        """Slow the job until the trouble passes, or is noticed and its node taken away."""
        cause = failure.cause
        state = (cause.slows, cause.slowdown)
        if failure.back_s is None:
            lasts_s = float(self._slowness.exponential(cause.lasts_s))
        else:
            lasts_s = failure.back_s - failure.time_s
        noticed = cause.detection_s is not None and 0 < cause.detection_s < lasts_s

        def over(failure: Failure) -> None:
            self.slow[state] -= 1
            if self.slow[state] == 0:
                del self.slow[state]
            if noticed and not self._job.waits and self._holds_ranks(failure):
                self._stop(failure._replace(cause=_warned(cause)))
            self._job.change()

        self.slow[state] += 1
        self._job.change()
        passes_s = cause.detection_s or 0.0 if noticed else lasts_s
        self._agenda.after(passes_s, over, failure)

    def _spoil(self, failure: Failure) -> None:
        """Spoil all states from now on; somebody notices later."""

        def noticed(failure: Failure) -> None:
            if not self._job.waits:
                self._take_away(failure)
            self._job.notice(failure)

        self._job.spoil()
        self._agenda.after(failure.cause.detection_s or 0.0, noticed, failure)


@cache
def _warned(cause: FailureCause) -> FailureCause:
    """Return the cause as an eviction: the job is saved before the node is taken away."""
    return cause.model_copy(update={"notice_s": inf, "detection_s": 0.0})
