"""Collective algorithms as straight lines: time = latency + bytes × time per byte.

Every algorithm is priced from the levels of a `Group`. At a level, a member's share of the traffic
that leaves its block is divided by the bandwidth that the members inside the block have together.
Pipelined algorithms (ring, tree) run all levels at once and go as fast as the slowest; the others
finish one level before the next.

References
----------
.. [1] Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
   JPDC 69 (2009), section 3: ring, 2 (n-1)/n of the message through every link.
.. [2] Sanders, Speck, Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and
   scan", Parallel Computing 35 (2009): each node is a leaf in one of two trees.
.. [3] Thakur, Rabenseifner, Gropp, "Optimization of collective communication operations in MPICH",
   IJHPCA 19 (2005), section 4: recursive halving and doubling, all-to-all.
.. [4] NVIDIA/nccl: src/graph/tuning.cc, ncclTopoTuneModel: latency counts hops by level; a tree is
   a chain inside the node and double binary between nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.cost.groups import Group
from simulator.cost.plan_table import FloatArray


@dataclass(frozen=True, slots=True)
class Line:
    """Time of a collective as a function of its message; arrays of shape (n,)."""

    latency_s: FloatArray
    s_per_byte: FloatArray

    def time_s(self, message_bytes: FloatArray | float) -> FloatArray:
        """Time for a message, in s."""
        return self.latency_s + message_bytes * self.s_per_byte

    def twice(self) -> Line:
        """Return the line of doing it twice, as all-reduce does reduce-scatter and all-gather."""
        return Line(2 * self.latency_s, 2 * self.s_per_byte)


Algorithm = Callable[[Group], Line]


def ring_pass(group: Group) -> Line:
    """One turn of the ring: all-gather or reduce-scatter, (n-1)/n of the message [1]_."""
    return Line(_ring_latency(group), (group.size - 1) / group.size * _slowest_level(group))


def hierarchical_pass(group: Group) -> Line:
    """All-gather or reduce-scatter level by level, a ring at each: (f-1)/f of what is left."""
    return _level_by_level(group, steps=lambda fan_out: fan_out - 1.0)


def doubling_pass(group: Group) -> Line:
    """Recursive doubling (all-gather) or halving (reduce-scatter), near partners first [3]_."""
    return _level_by_level(group, steps=lambda fan_out: np.ceil(np.log2(fan_out)))


def double_tree(group: Group) -> Line:
    """All-reduce up and down two trees at once: the message leaves every member twice [2]_ [4]_."""
    latency_s = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        steps = level.fan_out - 1.0 if index == 0 else np.ceil(np.log2(level.fan_out))
        latency_s += 2 * steps * level.latency_s
    return Line(latency_s, 2.0 * _slowest_level(group))


def pairwise_exchange(group: Group, copies_per_token: int) -> Line:
    """All-to-all, every pair at once: each level carries the share of the bytes that crosses it.

    Bytes change the domain on the NIC they leave from, so they also move inside a domain. Of n
    domains, k copies of a token reach n (1 - (1 - 1/n)^k) different ones where the choice is even.
    """
    domains = group.n_domains
    sent = domains * (1 - (1 - 1 / domains) ** copies_per_token) / copies_per_token
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        crosses = group.crosses(index)
        share = 1 - 1 / level.fan_out if index == 0 else sent * (1 - level.inside / group.size)
        latency_s = np.where(crosses, level.latency_s, latency_s)
        s_per_byte = np.maximum(s_per_byte, share / level.bandwidth_bytes_per_s)
    return Line(latency_s, s_per_byte)


def neighbour_transfer(group: Group) -> Line:
    """Point to point between the neighbours that are furthest apart, all pairs at once."""
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        crosses = group.crosses(index)
        lanes = level.inside if level.pooled else 1
        latency_s = np.where(crosses, level.latency_s, latency_s)
        through = np.where(crosses, 1 / (level.bandwidth_bytes_per_s * lanes), 0.0)
        s_per_byte = np.maximum(s_per_byte, through)
    return Line(latency_s, s_per_byte)


def _slowest_level(group: Group) -> FloatArray:
    """Time per byte of a ring, in s; its edge out of a block has the bandwidth of all inside."""
    result = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        s_per_byte = 1 / (level.bandwidth_bytes_per_s * level.inside)
        result = np.maximum(result, np.where(group.crosses(index), s_per_byte, 0.0))
    return result


def _ring_latency(group: Group) -> FloatArray:
    """Latency of the n-1 hops of one turn, in s; each costs what the level it crosses costs."""
    latency_s = np.zeros(len(group.size))
    for level in group.levels:
        blocks_below = group.size / level.inside
        latency_s += (blocks_below - blocks_below / level.fan_out) * level.latency_s
    return latency_s


def _level_by_level(group: Group, steps: Callable[[FloatArray], FloatArray]) -> Line:
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for level in group.levels:
        fan_out = level.fan_out.astype(float)
        latency_s += steps(fan_out) * level.latency_s
        s_per_byte += (fan_out - 1) / fan_out / (level.bandwidth_bytes_per_s * level.inside)
    return Line(latency_s, s_per_byte)
