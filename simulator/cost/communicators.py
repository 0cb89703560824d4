"""Buffers of the communication library, group by group: what a rank holds outside of its tensors.

NCCL gives every channel of a communicator a buffer for each neighbour. Rings and trees need their
neighbours only, however many ranks there are; exchanges (pipeline stages, experts) a buffer for
every peer on the host, and one pool for all beyond.

References
----------
NVIDIA/nccl@5067397: src/include/device.h, src/init.cc, src/transport/p2p.cc, net.cc, nvls.cc.
"""

from __future__ import annotations

import numpy as np

from simulator.cost.groups import AxisName, Group, axis_group, world_group
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.cluster import ClusterSpec

_MIB = 2.0**20
CONNECTION_BYTES = 12.0 * _MIB
"""One channel to and from one neighbour: 4, 4.7 (LL128) and 0.5 MiB (LL) for what arrives, which
take 10 MiB, and 2 MiB for what leaves; NVIDIA/nccl#1685 counts allocations of these two sizes."""
RING_CHANNELS = 24
"""Of A100 and H100 behind switches (NVIDIA/nccl#1259)."""
EXCHANGE_CHANNELS = 32
"""To each peer of a group inside one domain (NVIDIA/nccl#1685)."""
REMOTE_CHANNELS = 2
"""To each peer of a group that leaves the domain: as many as the slowest of its paths needs."""
POOL_BYTES = 2.0 * EXCHANGE_CHANNELS * 2.0 * _MIB
"""To and from all peers beyond: 16 steps of 128 KiB a channel."""
MULTICAST_BYTES = 2.0 * 16.0 * _MIB
"""For each member of a domain whose switches reduce: 16 channels of 8 steps of 128 KiB, twice."""
COMMUNICATOR_BYTES = 256.0 * _MIB
"""What else: of the 544 MiB that a group of two A100 took (NVIDIA/nccl#964), all but its ring."""

RINGS: tuple[AxisName, ...] = ("tp", "cp", "dp_shard_cp", "dp_replicate")
STAGE_NEIGHBOURS = 2


def communicator_bytes(cluster: ClusterSpec, table: PlanTable) -> FloatArray:
    """Return what all groups of a rank hold; shape (n,).

    A group of all ranks is there once, whether or not an axis spans it.
    """
    world = world_group(cluster, table)
    groups = [axis_group(cluster, table, axis) for axis in RINGS]
    held = _ring_bytes(world)
    for group in groups:
        held = held + np.where(group.size < world.size, _ring_bytes(group), 0.0)
    copies = _ring_bytes(axis_group(cluster, table, "expert_dp"))
    held = held + np.where(table.ep > 1, copies, 0.0)
    others = cluster.device.devices_per_node - 1
    held = held + _exchange_bytes(axis_group(cluster, table, "ep"), others)
    return held + _exchange_bytes(axis_group(cluster, table, "pp"), STAGE_NEIGHBOURS)


def _ring_bytes(group: Group) -> FloatArray:
    """A ring, and the way back that trees take between the same neighbours, in n - 1 of n gaps."""
    neighbours = np.where(group.size > 2, 2.0 - 1.0 / group.size, 1.0)
    members = np.where(group.in_domain > 1, group.in_domain, 0)
    multicast = MULTICAST_BYTES * members * group.levels[0].reduces
    held = COMMUNICATOR_BYTES + RING_CHANNELS * CONNECTION_BYTES * neighbours + multicast
    return np.where(group.size > 1, held, 0.0)


def _exchange_bytes(group: Group, most_peers: int) -> FloatArray:
    """For peers on the same host; kernels that exchange beyond it bring their own buffers."""
    leaves = group.n_domains > 1
    channels = np.where(leaves, REMOTE_CHANNELS, EXCHANGE_CHANNELS)
    near = np.minimum(group.in_domain - 1, most_peers) * channels * CONNECTION_BYTES
    return np.where(group.size > 1, COMMUNICATOR_BYTES + near + POOL_BYTES * leaves, 0.0)
