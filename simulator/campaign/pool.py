"""Which nodes hold ranks, which wait as spares, and which are away for repair."""

from __future__ import annotations

from collections import deque

from simulator.campaign.fleet import Fleet


class NodePool:
    """The nodes of a fleet. Stores only those that are not where they were at the start."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._away: set[int] = set()
        self._spare = deque(range(fleet.n_nodes, fleet.n_units))
        self._is_spare = set(self._spare)
        self.n_in_job = fleet.n_nodes

    @property
    def n_spares(self) -> int:
        """Nodes that are ready to be swapped in."""
        return len(self._is_spare)

    @property
    def n_up(self) -> int:
        """Nodes that work, in the job or as spares."""
        return self.n_in_job + self.n_spares

    def in_job(self, node: int) -> bool:
        """Return whether a node holds ranks."""
        return node not in self._away and node not in self._is_spare

    def is_spare(self, node: int) -> bool:
        """Return whether a node waits as a spare."""
        return node in self._is_spare

    def spare_rank(self, node: int) -> int:
        """Return how many spares come in before this one."""
        ready = (each for each in self._spare if each in self._is_spare)
        return next(rank for rank, each in enumerate(ready) if each == node)

    def remove(self, node: int) -> bool:
        """Take a node away for repair; return whether it was there."""
        if node in self._away:
            return False
        if node in self._is_spare:
            self._is_spare.discard(node)
        else:
            self.n_in_job -= 1
        self._away.add(node)
        return True

    def bring_back(self, node: int) -> None:
        """Return a repaired node; it becomes a spare."""
        self._away.discard(node)
        self._is_spare.add(node)
        self._spare.append(node)

    def fill(self, wanted: int) -> list[int]:
        """Swap spares in until the job has `wanted` nodes; return those that came."""
        came: list[int] = []
        spares = self._is_spare
        while self.n_in_job < wanted and spares:
            node = self._spare.popleft()
            if node in spares:  # it may have failed while it waited
                spares.discard(node)
                self.n_in_job += 1
                came.append(node)
        return came

    def release(self, wanted: int) -> None:
        """Make spares of nodes of the job until it has only `wanted`."""
        node = 0
        while self.n_in_job > wanted:
            if self.in_job(node):
                self.n_in_job -= 1
                self._is_spare.add(node)
                self._spare.append(node)
            node = (node + 1) % self._fleet.n_units
