"""Groups of ranks that communicate: how large they are and which links they cross.

Ranks count up along the last axis of `AXES` first, so the members of a group are `stride` ranks
apart; over several regions copies are outermost, and a group across them has two parts. Devices sit
in blocks inside blocks: a scale-up domain, a pod, a region. A group has `inside` members in one
block of a level, and a message that leaves the block shares its way out with all devices of the
block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from simulator.cost.plan_table import BoolArray, IntArray, PlanTable
from simulator.fabric.scale_up import PortShares, port_shares
from simulator.spec.cluster import ClusterSpec, CollectiveFit, ExchangeFit, LinkSpec
from simulator.spec.links import AlgorithmName, LevelName, ProtocolName
from simulator.spec.plan import AXES, AXES_OVER_REGIONS

AxisName = Literal[
    "pp", "dp", "dp_replicate", "dp_shard", "dp_shard_cp", "cp", "tp", "ep", "expert_dp"
]

_JOINED_AXES: dict[str, tuple[str, ...]] = {
    "dp": ("dp_replicate", "dp_shard", "cp"),
    "dp_shard_cp": ("dp_shard", "cp"),
}
"""Axes that stand side by side in `AXES` and form one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of links; arrays of shape (n,)."""

    name: LevelName
    fan_out: IntArray
    """Blocks of the level below that a group joins here; 1 where it does not use the level."""
    inside: IntArray
    """Members of the group in one block of the level below."""
    bandwidth_bytes_per_s: float
    """What one device can send out of its block while all devices of the block send."""
    remaining: float
    """Share of the level's bandwidth that its faults leave; it is in the bandwidth already."""
    shares: PortShares
    """How much of it rings, all-to-all and single messages can use."""
    latency_s: float
    pooled: bool
    """Whether the devices of a block share one uplink, or have a port each."""
    reduces: bool
    """Whether its switches reduce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Ranks that communicate, one group per plan; arrays of shape (n,)."""

    size: IntArray
    levels: tuple[Level, ...]
    """Innermost first; the product of the fan-outs is the size."""
    algorithm: AlgorithmName | None
    """Fixed by the user; None means the fastest."""
    protocols: tuple[ProtocolName, ...]
    """What the algorithms choose from; see `simulator.cost.protocols`."""
    measured: tuple[CollectiveFit, ...]
    """Collectives that were measured on this cluster."""
    exchanges: tuple[ExchangeFit, ...]
    """What the runtime's exchanges were seen to add to a step on this cluster."""
    n_busy: IntArray
    """Ranks that are busy on one node."""

    @property
    def in_domain(self) -> IntArray:
        """Members inside one scale-up domain."""
        return self.levels[0].fan_out

    @property
    def n_domains(self) -> IntArray:
        """Scale-up domains that a group spans."""
        return self.size // self.in_domain

    def slower_by(self, factor: float) -> Group:
        """Return the same group over links that carry less by a factor."""
        levels = [
            replace(level, bandwidth_bytes_per_s=level.bandwidth_bytes_per_s / factor)
            for level in self.levels
        ]
        return replace(self, levels=tuple(levels))

    def crosses(self, level: int) -> BoolArray:
        """Whether messages of the group use the links of a level."""
        if level == 0:
            return self.in_domain > 1
        return self.size > self.levels[level].inside


def axis_group(cluster: ClusterSpec, table: PlanTable, axis: AxisName) -> Group:
    """Return the group of ranks along one axis (or several joined ones) for every plan.

    `dp` synchronises gradients (dp_replicate × dp_shard × cp), `dp_shard_cp` shards the optimizer,
    `ep` are the innermost ranks, and `expert_dp` holds the copies of one expert, which without
    expert parallelism is divided by tp as all weights are.
    """
    assert axis in get_args(AxisName), axis
    return _group(cluster, parts_of(cluster, table, axis), table.n_ranks)


def world_group(cluster: ClusterSpec, table: PlanTable) -> Group:
    """Return the group of all ranks of every plan."""
    everyone = (table.n_ranks, np.ones_like(table.n_ranks))
    return _group(cluster, (everyone,), table.n_ranks)


Part = tuple[IntArray, IntArray]
"""Members of a group (or of a part of it), and the distance between neighbours in ranks."""


def parts_of(cluster: ClusterSpec, table: PlanTable, axis: AxisName) -> tuple[Part, ...]:
    """Return of what a group is made, innermost first: one part where its axes are neighbours."""
    if axis == "ep":
        return ((table.ep, np.ones_like(table.ep)),)
    if cluster.fabric.n_regions == 1:
        return (_part(table, axis, AXES),)
    copies = _part(table, "dp_replicate", AXES_OVER_REGIONS)
    if axis == "dp":
        return _part(table, "dp_shard_cp", AXES_OVER_REGIONS), copies
    if axis == "expert_dp":
        size, stride = _part(table, axis, AXES)
        spread = table.dp_shard * table.cp * np.where(table.ep > 1, table.tp, 1)
        in_copy = np.maximum(spread // table.ep, 1)
        return (in_copy, stride), (size // in_copy, copies[1])
    return (_part(table, axis, AXES_OVER_REGIONS),)


def _part(table: PlanTable, axis: AxisName, order: tuple[str, ...]) -> Part:
    if axis == "expert_dp":
        stride = np.where(table.ep > 1, table.ep, table.tp)
        return table.n_ranks // (table.pp * stride), stride
    joined = _JOINED_AXES.get(axis, (axis,))
    inner = order[order.index(joined[-1]) + 1 :]
    return _product(table, joined), _product(table, inner)


def _product(table: PlanTable, axes: tuple[str, ...]) -> IntArray:
    result = np.ones(len(table), dtype=np.int64)
    for axis in axes:
        result = result * getattr(table, axis)
    return result


def _group(cluster: ClusterSpec, parts: tuple[Part, ...], n_ranks: IntArray) -> Group:
    links = _links(cluster)
    size: IntArray = np.prod([size for size, _ in parts], axis=0)
    blocks = _nested_blocks(n_ranks, [*cluster.level_devices.values()])
    levels: list[Level] = []
    inside = np.ones_like(size)
    for link, block in zip(links, blocks, strict=True):
        members = np.prod([_members(*part, block) for part in parts], axis=0)
        remaining = cluster.remaining_bandwidth(link.name)
        levels.append(
            Level(
                name=link.name,
                fan_out=members // inside,
                inside=inside,
                bandwidth_bytes_per_s=(
                    link.spec.bandwidth_bytes_per_s * link.spec.efficiency / link.divided_by
                )
                * remaining,
                remaining=remaining,
                shares=port_shares(cluster, members, parts[0][1]) if not levels else PortShares(),
                latency_s=link.spec.latency_s,
                pooled=link.pooled,
                reduces=link.spec.reduces_in_network,
            )
        )
        inside = members
    return Group(
        size=size,
        levels=tuple(levels),
        algorithm=cluster.collective_algorithm,
        protocols=cluster.scale_up.protocols,
        measured=cluster.calibration.collectives if cluster.calibration else (),
        exchanges=cluster.calibration.exchanges if cluster.calibration else (),
        n_busy=np.minimum(n_ranks, cluster.devices_per_node) + cluster.host.n_other_ranks,
    )


@dataclass(frozen=True, slots=True)
class _Link:
    """The links of one level."""

    name: LevelName
    spec: LinkSpec
    divided_by: float = 1.0
    """Devices that one link serves, or oversubscription."""
    pooled: bool = False


def _links(cluster: ClusterSpec) -> list[_Link]:
    """Return the links of the levels that the cluster has, innermost first."""
    fabric, wide = cluster.fabric, cluster.fabric.wide_area
    known: dict[LevelName, _Link] = {
        "scale-up": _Link("scale-up", cluster.scale_up),
        "scale-out": _Link("scale-out", fabric.nic),
        "pods": _Link("pods", fabric.nic, fabric.oversubscription, pooled=True),
        "regions": _Link("regions", wide or fabric.nic, cluster.region_devices, pooled=True),
    }
    return [known[name] for name in cluster.level_devices]


def _nested_blocks(n_ranks: IntArray, block_devices: list[int]) -> list[IntArray]:
    """Ranks that a job puts into one block of every level, innermost first.

    All blocks hold equally many: the largest divisor that fits, as schedulers use 64 of the 72
    devices of a rack. The outermost block holds the job.
    """
    blocks = [n_ranks]
    for devices in reversed(block_devices[:-1]):
        inner = np.empty_like(n_ranks)
        for outer in np.unique(blocks[-1]).tolist():
            largest = next(d for d in range(min(outer, devices), 0, -1) if outer % d == 0)
            inner[blocks[-1] == outer] = largest
        blocks.append(inner)
    return blocks[::-1]


def _members(size: IntArray, stride: IntArray, block: IntArray) -> IntArray:
    """Members of a group in one block.

    A group that does not line up with the blocks counts as cut into the pieces that do.
    """
    aligned = np.gcd(size * stride, block)
    return np.where(aligned % stride == 0, aligned // stride, 1)
