"""Spares of several kinds: which of them fail, draw power, and how long each takes to come in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from simulator.spec.reliability import ReliabilitySpec, SparePool


@dataclass(frozen=True, slots=True)
class SpareTerms:
    """The spares of a job, in the order in which they come in.

    A pool is filled up from the next one behind the back of the job, so that the first ones are
    there whenever a few are. Only what strikes more nodes than the first pools have waits for a
    later one.
    """

    pools: tuple[SparePool, ...]
    """The last one stands for all further spares; how many there are may be left open."""

    @property
    def n_hot(self) -> float:
        """Spares that run, and fail like the others; infinite where all do."""
        hot = [pool.kind == "hot" for pool in self.pools]
        return inf if all(hot) else sum(pool.nodes for pool in self.pools if pool.kind == "hot")

    @property
    def cold_share(self) -> float:
        """Share of the spares that are off."""
        n_cold = sum(pool.nodes for pool in self.pools if pool.kind == "cold")
        return n_cold / sum(pool.nodes for pool in self.pools)

    def swap_s(self, n_nodes: int) -> float:
        """Time until so many spares have come in, at once."""
        slowest_s = 0.0
        for pool in self.pools:
            slowest_s = max(slowest_s, pool.swap_s)
            n_nodes -= pool.nodes
            if n_nodes <= 0:
                break
        return slowest_s


def spare_terms(asked: ReliabilitySpec) -> SpareTerms:
    """Return the spares of a scenario: its pools, or the one kind that it names."""
    one = SparePool(kind=asked.spare_kind, nodes=1, swap_s=asked.swap_s)
    return SpareTerms(asked.spare_pools or (one,))
