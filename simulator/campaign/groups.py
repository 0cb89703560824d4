"""Replica groups that fail apart: the others go on without the one that restarts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from simulator.campaign.agenda import Agenda
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
        agenda: Agenda,
        setting: CampaignSetting,
        pool: NodePool,
        changed: Callable[[], None],
    ) -> None:
        self._agenda = agenda
        self._pool = pool
        self._changed = changed
        self._n_groups = setting.n_groups
        self._n_nodes = setting.fleet.n_nodes
        self._restart_s = setting.restart_s
        self._swap_s = cache(setting.spares.swap_s)
        self._moved: dict[int, int] = {}
        """Groups of the nodes that were swapped in."""
        self._down: dict[int, int] = {}
        """Outages of each group that is down."""
        self._epoch = 0
        self._queue: deque[_Outage] = deque()

    @property
    def running_share(self) -> float:
        """Share of the groups that train."""
        return 1 - len(self._down) / self._n_groups

    @property
    def any_down(self) -> bool:
        """Whether a group is without its nodes while others have theirs."""
        return bool(self._down)

    def stop(self, failure: Failure, n_missing: int) -> bool:
        """Stop the struck group; return whether another one still runs."""
        down, group = self._down, self._group_of(failure.node)
        down[group] = down.get(group, 0) + 1
        if len(down) == self._n_groups:
            down.clear()
            self._queue.clear()
            self._epoch += 1
            return False
        noticed_s = self._agenda.now_s + (failure.cause.detection_s or 0.0)
        restart_s = self._restart_s + (self._swap_s(n_missing) if failure.removes else 0.0)
        outage = _Outage(group, n_missing, noticed_s, restart_s, self._epoch)
        if n_missing and (self._queue or not self._filled(outage)):
            self._queue.append(outage)
        else:
            self._restart(outage)
        return True

    def _group_of(self, node: int) -> int:
        """Return where a node holds ranks: the nodes of the start are divided in their order."""
        group = self._moved.get(node)
        if group is None:
            return node % self._n_nodes * self._n_groups // self._n_nodes
        return group

    def node_back(self) -> None:
        """Let the groups that wait take nodes, in the order in which they failed."""
        while self._queue and self._filled(self._queue[0]):
            self._restart(self._queue.popleft())

    def _filled(self, outage: _Outage) -> bool:
        """Take the nodes that are missing, as far as there are spares; return whether all came."""
        for node in self._pool.fill(self._pool.n_in_job + outage.n_missing):
            self._moved[node] = outage.group
            outage.n_missing -= 1
        return outage.n_missing == 0

    def _restart(self, outage: _Outage) -> None:
        """Let the group run again after its restart, which begins when somebody knows."""
        delay_s = outage.restart_s
        if outage.noticed_s > self._agenda.now_s:
            delay_s += outage.noticed_s - self._agenda.now_s
        self._agenda.after(delay_s, self._runs, outage)

    def _runs(self, outage: _Outage) -> None:
        """Let the group run again, after its restart."""
        if outage.epoch == self._epoch:
            down, group = self._down, outage.group
            down[group] -= 1
            if down[group] == 0:
                del down[group]
            self._changed()
