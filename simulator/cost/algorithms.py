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
.. [4] NVIDIA/nccl: src/graph/tuning.cc, ncclTopoTuneModel and ncclTopoGetAlgoTime: latency counts
   hops by level; a tree is a chain inside the node and double binary between nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.groups import Group, Level
from simulator.cost.plan_table import BoolArray, FloatArray
from simulator.cost.protocols import PLAIN_RING, PLAIN_TREE, RING, TREE, TREE_BETWEEN, Protocol
from simulator.spec.links import ProtocolName


@dataclass(frozen=True, slots=True)
class Line:
    """Time of a collective as a function of its message; arrays of shape (n,)."""

    latency_s: FloatArray
    s_per_byte: FloatArray
    filling: tuple[float, ...] = ()
    """Share of the bandwidth that messages of 64, 128, 256 ... bytes reach; larger ones all."""

    def time_s(self, message_bytes: FloatArray | float) -> FloatArray:
        """Time for a message, in s."""
        moving_s = message_bytes * self.s_per_byte
        if self.filling:
            doublings = np.log2(np.maximum(message_bytes, 64.0) / 64.0)
            moving_s = moving_s / np.interp(doublings, range(len(self.filling)), self.filling)
        return self.latency_s + moving_s


Algorithm = Callable[[Group], Sequence[Line]]
"""Lines of which the lowest holds for a message."""

RING_PLATEAU = 1.4
"""Latency of a ring over several domains, over the sum of its hops (the plateau effect of [4]_)."""

IN_NETWORK_BANDWIDTH = 0.8
"""Bandwidth of a reduction in the switches over that of rings: 0.91 of what the catalog has for
rings in 8 H100 or H200 and 0.69 in 8 B200 (all-reduce at 480, 482 and 839 GB/s of bus bandwidth:
HuggingFaceTB/smol-training-playbook; stas00/ml-engineering: network/benchmarks/README.md)."""
IN_NETWORK_CHUNKS = ((18e-6, 0.54), (35e-6, 0.76), (70e-6, 1.0))
"""Latency of a reduction in the switches of one level, and the share of its bandwidth, with chunks
of 16, 32 and 64 KiB, which the message decides (NVIDIA/nccl: src/enqueue.cc): all-reduce over 8
H200 from 32 KiB to 16 GiB (stas00/ml-engineering: network/benchmarks/README.md) within 16 %."""


def ring_pass(group: Group) -> list[Line]:
    """One turn of the ring: all-gather or reduce-scatter, (n-1)/n of the message [1]_."""
    return _ring(group, turns=1)


def ring_reduction(group: Group) -> list[Line]:
    """Two turns of the ring: all-reduce [1]_."""
    return _ring(group, turns=2)


def _ring(group: Group, turns: int) -> list[Line]:
    moving = turns * (1 - 1 / group.size) * _slowest(group)
    lines: list[Line] = []
    for protocol, used in _protocols(group, RING, PLAIN_RING, PLAIN_RING):
        plateau = np.where(group.n_domains > 1, RING_PLATEAU, 1.0)
        latency_s = protocol.launch_s + turns * _ring_latency(group, protocol) * plateau
        lines.append(Line(np.where(used, latency_s, np.inf), moving / protocol.bandwidth))
    return lines


def _protocols(
    group: Group, known: Mapping[ProtocolName, Protocol], between: Protocol, unknown: Protocol
) -> Iterator[tuple[Protocol, BoolArray]]:
    """Yield protocols with the groups that choose from them.

    Inside a domain those of the links; between domains, and where none are known, a plain one.
    """
    inside = group.n_domains == 1
    if not group.protocols:
        yield unknown, np.ones_like(inside)
        return
    for name in group.protocols:
        yield known[name], inside
    yield between, ~inside


def hierarchical_pass(group: Group) -> list[Line]:
    """All-gather or reduce-scatter level by level, a ring at each: (f-1)/f of what is left."""
    return [_level_by_level(group, steps=lambda fan_out: fan_out - 1.0)]


def doubling_pass(group: Group) -> list[Line]:
    """Recursive doubling (all-gather) or halving (reduce-scatter), near partners first [3]_."""
    return [_level_by_level(group, steps=lambda fan_out: np.ceil(np.log2(fan_out)))]


def twice(algorithm: Algorithm) -> Algorithm:
    """Return the all-reduce of an algorithm for reduce-scatter and all-gather: both."""
    return lambda group: [
        Line(2 * line.latency_s, 2 * line.s_per_byte) for line in algorithm(group)
    ]


def tree(group: Group) -> list[Line]:
    """All-reduce up and down a tree, pipelined.

    Double binary: two trees at once, in which every member sends the message twice in all [2]_;
    a chain inside a domain [4]_.
    """
    lines: list[Line] = []
    for protocol, used in _protocols(group, TREE, TREE_BETWEEN, PLAIN_TREE):
        latency_s = np.full(len(group.size), protocol.launch_s)
        for index, level in enumerate(group.levels):
            latency_s += 2 * _climb(group, index) * level.latency_s * protocol.hop(index)
        s_per_byte = 2.0 / protocol.bandwidth * _slowest(group)
        lines.append(Line(np.where(used, latency_s, np.inf), s_per_byte, protocol.filling))
    return lines


def in_network(group: Group) -> list[Line]:
    """All-reduce in the switches, where those of all levels reduce: members send once."""
    used = np.ones(len(group.size), dtype=bool)
    levels = np.zeros(len(group.size))
    for level in group.levels:
        used &= level.reduces | (level.fan_out == 1)
        levels += level.fan_out > 1
    s_per_byte = _slowest(group) / IN_NETWORK_BANDWIDTH
    return [
        Line(np.where(used, levels * latency_s, np.inf), s_per_byte / share)
        for latency_s, share in IN_NETWORK_CHUNKS
    ]


def _climb(group: Group, index: int) -> FloatArray:
    """Hops from the leaves of a tree to its root at a level."""
    fan_out = group.levels[index].fan_out.astype(float)
    climb: FloatArray = fan_out - 1.0 if index == 0 else np.ceil(np.log2(fan_out))
    return climb


def pairwise_exchange(group: Group, copies_per_token: int, most_domains: int) -> Line:
    """All-to-all, every pair at once: each level carries the share of the bytes that crosses it.

    Bytes change the domain on the NIC they leave from, so they also move inside a domain. Of n
    domains, k copies of a token reach n (1 - (1 - 1/n)^k) different ones where the choice is even,
    unless the routing keeps to fewer.
    """
    domains = group.n_domains
    reached = domains * (1 - (1 - 1 / domains) ** copies_per_token)
    sent = np.minimum(reached, most_domains or np.inf) / copies_per_token
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        crosses = group.crosses(index)
        share = 1 - 1 / level.fan_out if index == 0 else sent * (1 - level.inside / group.size)
        latency_s = np.where(crosses, level.latency_s, latency_s)
        s_per_byte = np.maximum(s_per_byte, share / _rate(level, level.shares.exchange))
    return Line(latency_s, s_per_byte)


def neighbour_transfer(group: Group) -> Line:
    """Point to point between the neighbours that are furthest apart, all pairs at once."""
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        crosses = group.crosses(index)
        rate = _rate(level, level.shares.pair) * (level.inside if level.pooled else 1)
        latency_s = np.where(crosses, level.latency_s, latency_s)
        s_per_byte = np.maximum(s_per_byte, np.where(crosses, 1 / rate, 0.0))
    return Line(latency_s, s_per_byte)


def _rate(level: Level, share: FloatArray | float) -> FloatArray | float:
    """Bandwidth of a device's share of a level, in bytes/s."""
    return level.bandwidth_bytes_per_s * share


def _ring_s_per_byte(group: Group, index: int) -> FloatArray:
    """Time per byte at one level of a ring, in s; 0 where the group does not use the level.

    The edge out of a block has the bandwidth of all members inside. Of rings that leave a domain
    from each of its m members in turn, a device's scale-up link carries (m-1)/m.
    """
    level = group.levels[index]
    busy = np.where(group.n_domains > 1, 1 - 1 / level.fan_out, 1.0) if index == 0 else 1.0
    s_per_byte = busy / (_rate(level, level.shares.ring) * level.inside)
    return np.where(group.crosses(index), s_per_byte, 0.0)


def _slowest(group: Group) -> FloatArray:
    """Time per byte at the slowest level of a ring, in s."""
    slowest: FloatArray = np.maximum.reduce(
        [_ring_s_per_byte(group, index) for index in range(len(group.levels))]
    )
    return slowest


def _ring_latency(group: Group, protocol: Protocol) -> FloatArray:
    """Latency of the n-1 hops of one turn, in s, each that of the level it crosses [4]_."""
    latency_s = np.zeros(len(group.size))
    for index, level in enumerate(group.levels):
        blocks_below = group.size / level.inside
        hops = blocks_below - blocks_below / level.fan_out
        latency_s += hops * level.latency_s * protocol.hop(index)
    return latency_s


def _level_by_level(group: Group, steps: Callable[[FloatArray], FloatArray]) -> Line:
    latency_s = np.zeros(len(group.size))
    s_per_byte = np.zeros(len(group.size))
    for level in group.levels:
        fan_out = level.fan_out.astype(float)
        latency_s += steps(fan_out) * level.latency_s
        s_per_byte += (1 - 1 / fan_out) / (_rate(level, level.shares.ring) * level.inside)
    return Line(latency_s, s_per_byte)
