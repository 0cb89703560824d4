"""Replica groups that fail apart: the others go on without the one that restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import simpy

from simulator.campaign.failures import Failure
from simulator.campaign.pool import NodePool
from simulator.campaign.setting import CampaignSetting


class GroupOutages:
    """Which replica groups are down. A group takes the state over from one that runs."""

    def __init__(
        self,
        env: simpy.Environment,
        setting: CampaignSetting,
        pool: NodePool,
        changed: Callable[[], None],
    ) -> None:
        self._env = env
        self._setting = setting
        self._pool = pool
        self._changed = changed
        self._down: Counter[int] = Counter()
        self._epoch = 0
        self._queue: list[simpy.Event] = []

    @property
    def running_share(self) -> float:
        """Share of the groups that train."""
        return 1 - len(self._down) / self._setting.n_groups if self._down else 1.0

    @property
    def any_down(self) -> bool:
        """Whether a group is without its nodes while others have theirs."""
        return bool(self._down)

    def stop(self, failure: Failure, n_missing: int) -> bool:
        """Stop the struck group; return whether another one still runs.

        `n_missing` nodes must be replaced before it can restart.
        """
        per_group = -(-self._setting.fleet.n_units // self._setting.n_groups)
        group = failure.node // per_group
        self._down[group] += 1
        if len(self._down) == self._setting.n_groups:
            self._down.clear()
            self._epoch += 1
            return False
        self._env.process(self._restart(group, failure, n_missing, self._epoch))
        return True

    def node_back(self) -> None:
        """Let groups that wait look for nodes again."""
        waiting, self._queue = self._queue, []
        for event in waiting:
            event.succeed()

    def _restart(
        self, group: int, failure: Failure, n_missing: int, epoch: int
    ) -> simpy.events.ProcessGenerator:
        setting = self._setting
        yield self._env.timeout(failure.cause.detection_s or 0.0)
        while n_missing and epoch == self._epoch:
            n_missing -= self._pool.fill(self._pool.n_in_job + n_missing)
            if n_missing:
                self._queue.append(self._env.event())
                yield self._queue[-1]
        swap_s = setting.swap_s if failure.removes else 0.0
        yield self._env.timeout(setting.restart_s + swap_s)
        if epoch == self._epoch:
            self._down[group] -= 1
            if self._down[group] == 0:
                del self._down[group]
            self._changed()
