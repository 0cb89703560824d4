"""NCCL's protocols: what a hop of an algorithm costs, and how much of the bandwidth it reaches.

LL sends words of 8 bytes, half of them flags, LL128 lines of 128 bytes with 120 of data, and Simple
large chunks behind a fence: the first has hops of half a microsecond and a quarter of the
bandwidth, the last all of the bandwidth and hops of 3 to 14 us. Latencies of hops are given over
those of Simple in a ring, which are the links' own (`LinkSpec.latency_s`).

References
----------
.. [1] NVIDIA/nccl: src/graph/tuning.cc (baseLat, hwLat, treeCorrectionFactor, ncclTopoTuneModel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from simulator.spec.links import ProtocolName


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A protocol of a ring or a tree."""

    launch_s: float
    inside: float
    """Latency of a hop inside a scale-up domain, over that of the link."""
    between: float
    """The same of a hop between domains."""
    bandwidth: float
    """Share of the link's bandwidth."""
    filling: tuple[float, ...] = ()
    """Share of the bandwidth that messages of 64, 128, 256 ... bytes reach."""

    def hop(self, level: int) -> float:
        """Latency of a hop at a level of a group, over that of the level's link."""
        return self.inside if level == 0 else self.between


NVLINK_HOP, NETWORK_HOP = 3.4e-6, 14e-6
"""Simple's hop in a ring [1]_."""

LAUNCH_S = 15e-6
"""What a collective takes beyond the latencies of [1]_, its launch included: all-reduce of 32 KiB
over 8 A100 takes 30 to 44 us where [1]_ counts 16 (docs/design/fabric.md)."""

SIMPLE_FILLING = (
    *(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5),
    *(0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9, 1.0),
)

RING: Mapping[ProtocolName, Protocol] = {
    "ll": Protocol(
        launch_s=LAUNCH_S + 6.6e-6,
        inside=0.6e-6 / NVLINK_HOP,
        between=2.7e-6 / NETWORK_HOP,
        bandwidth=1 / 4,
    ),
    "ll128": Protocol(
        launch_s=LAUNCH_S + 14e-6,
        inside=1.9e-6 / NVLINK_HOP,
        between=4.0e-6 / NETWORK_HOP,
        bandwidth=0.92,
    ),
    "simple": Protocol(launch_s=LAUNCH_S + 8.4e-6, inside=1.0, between=1.0, bandwidth=1.0),
}
TREE: Mapping[ProtocolName, Protocol] = {
    "ll": Protocol(
        launch_s=LAUNCH_S + 6.8e-6,
        inside=0.6e-6 / NVLINK_HOP,
        between=5.0e-6 / NETWORK_HOP,
        bandwidth=0.92 / 3.8,
        filling=(
            *(1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5),
            *(0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        ),
    ),
    "ll128": Protocol(
        launch_s=LAUNCH_S + 14e-6,
        inside=1.25e-6 / NVLINK_HOP,
        between=8.5e-6 / NETWORK_HOP,
        bandwidth=0.92 * 120 / 128,
        filling=(
            *(1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6),
            *(0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1.0),
        ),
    ),
    "simple": Protocol(
        launch_s=LAUNCH_S,
        inside=28e-6 / NVLINK_HOP,
        between=28e-6 / NETWORK_HOP,
        bandwidth=0.92,
        filling=SIMPLE_FILLING,
    ),
}

PLAIN_RING = Protocol(launch_s=0.0, inside=1.0, between=1.0, bandwidth=1.0)
"""A ring where no protocols are known: the latencies of the links and nothing else."""
PLAIN_TREE = Protocol(launch_s=0.0, inside=1.0, between=1.0, bandwidth=0.4)
"""The same of a double binary tree, which reaches 0.4 of the ideal bandwidth: [1]_ counts
0.9 x 0.5 for 1 MiB to 8 MiB, where trees are chosen; all-reduce over 32 B200 fits 0.4
(docs/design/fabric.md)."""
TREE_BETWEEN = replace(PLAIN_TREE, filling=SIMPLE_FILLING)
"""A tree over several domains, of devices whose collectives are NCCL's."""
