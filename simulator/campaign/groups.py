"""Replica groups that fail apart: the others go on without the one that restarts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import simpy

from simulator.campaign.failures import Failure
from simulator.campaign.pool import NodePool
from simulator.campaign.setting import CampaignSetting


@dataclass(slots=True)
class _Outage:
    """A group that is down because of one failure."""

    group: int
    n_missing: int
    """Nodes that must be replaced before it can restart."""
    noticed_s: float
    """When anybody knows of it."""
    restart_s: float
    epoch: int
    """An outage of an earlier epoch is over: all groups have restarted together since."""


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
        self._moved: dict[int, int] = {}
        """Groups of the nodes that were swapped in."""
        self._down: Counter[int] = Counter()
        self._epoch = 0
        self._queue: deque[_Outage] = deque()

    @property
    def running_share(self) -> float:
        """Share of the groups that train."""
        return 1 - len(self._down) / self._setting.n_groups if self._down else 1.0

    @property
    def any_down(self) -> bool:
        """Whether a group is without its nodes while others have theirs."""
        return bool(self._down)

    def stop(self, failure: Failure, n_missing: int) -> bool:
        """Stop the struck group; return whether another one still runs."""
        group = self._group_of(failure.node)
        self._down[group] += 1
        if len(self._down) == self._setting.n_groups:
            self._down.clear()
            self._queue.clear()
            self._epoch += 1
            return False
        swap_s = self._setting.swap_s if failure.removes else 0.0
        noticed_s = self._env.now + (failure.cause.detection_s or 0.0)
        restart_s = self._setting.restart_s + swap_s
        outage = _Outage(group, n_missing, noticed_s, restart_s, self._epoch)
        self._queue.append(outage)
        self.node_back()
        return True

    def _group_of(self, node: int) -> int:
        """Return where a node holds ranks: the nodes of the start are divided in their order."""
        n_nodes, n_groups = self._setting.fleet.n_nodes, self._setting.n_groups
        return self._moved.get(node, node % n_nodes * n_groups // n_nodes)

    def node_back(self) -> None:
        """Let the groups that wait take nodes, in the order in which they failed."""
        while self._queue and self._filled(self._queue[0]):
            self._restart(self._queue.popleft())

    def _filled(self, outage: _Outage) -> bool:
        """Take the nodes that are missing, as far as there are spares; return whether all came."""
        if outage.n_missing:
            came = self._pool.fill(self._pool.n_in_job + outage.n_missing)
            self._moved.update(dict.fromkeys(came, outage.group))
            outage.n_missing -= len(came)
        return outage.n_missing == 0

    def _restart(self, outage: _Outage) -> None:
        """Let the group run again after its restart, which begins when it can."""
        delay_s = max(0.0, outage.noticed_s - self._env.now) + outage.restart_s
        self._env.timeout(delay_s, outage).callbacks.append(self._runs)

    def _runs(self, event: simpy.Event) -> None:
        outage = event.value
        assert isinstance(outage, _Outage)
        if outage.epoch == self._epoch:
            self._down[outage.group] -= 1
            if self._down[outage.group] == 0:
                del self._down[outage.group]
            self._changed()
