"""One plan's exchanges as flows over the graph of its cluster, against their closed form.

The closed form knows levels of links, fills blocks equally and takes groups that do not line up
with them as cut into pieces that do. The graph knows every device: rank i runs on device i.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from simulator.cost.collectives import all_gather_s, all_to_all_s, p2p_s
from simulator.cost.groups import AxisName, Group, axis_group, parts_of
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec

if TYPE_CHECKING:
    from simulator.fabric.flows import Routes
    from simulator.fabric.traffic import Members, Phase

MAX_FLOW_DEVICES = 512
MESSAGE_BYTES = 2.0**40
"""Large enough for latency not to count."""

Pattern = Callable[["Routes", Sequence["Members"], float], "list[Phase]"]
ClosedForm = Callable[[float, Group], FloatArray]


def members_of(cluster: ClusterSpec, plan: PlanSpec, axis: AxisName) -> list[list[str]]:
    """Devices of every group along an axis, in the order of their ranks."""
    offsets = [0]
    for size, stride in _parts(cluster, plan, axis):
        offsets = [offset + member * stride for member in range(size) for offset in offsets]
    groups: list[list[str]] = []
    grouped: set[int] = set()
    for first in range(plan.n_ranks):
        if first not in grouped:
            ranks = [first + offset for offset in offsets]
            grouped.update(ranks)
            groups.append([f"device-{rank}" for rank in ranks])
    return groups


def _parts(cluster: ClusterSpec, plan: PlanSpec, axis: AxisName) -> tuple[tuple[int, int], ...]:
    parts = parts_of(cluster, PlanTable.of([plan]), axis)
    return tuple((int(size[0]), int(stride[0])) for size, stride in parts)


def flow_factors(
    cluster: ClusterSpec, plan: PlanSpec, *, mixture: bool = False
) -> dict[AxisName, float]:
    """Return the time of the exchanges along every axis in use, as flows over in closed form.

    `mixture` adds those of experts.

    Raises
    ------
    InputError
        For clusters of more than `MAX_FLOW_DEVICES`, and for tori and meshes, whose collectives do
        not run in rings of neighbouring ranks.
    """
    _check(cluster)
    table = PlanTable.of([plan])
    found: dict[tuple[Pattern, tuple[tuple[int, int], ...]], float] = {}
    factors: dict[AxisName, float] = {}
    for axis, (pattern, closed_form) in _patterns(mixture=mixture).items():
        parts = _parts(cluster, plan, axis)
        if all(size == 1 for size, _ in parts):
            continue
        key = (pattern, parts)
        if key not in found:
            group = replace(axis_group(cluster, table, axis), measured=())
            flows_s = _time_s(cluster, pattern, members_of(cluster, plan, axis))
            found[key] = flows_s / float(closed_form(MESSAGE_BYTES, group)[0])
        factors[axis] = found[key]
    return factors


def _patterns(*, mixture: bool) -> dict[AxisName, tuple[Pattern, ClosedForm]]:
    """What runs along an axis."""
    from simulator.fabric import traffic

    ring: tuple[Pattern, ClosedForm] = (traffic.ring_pass, all_gather_s)
    shift: tuple[Pattern, ClosedForm] = (traffic.shift, p2p_s)
    exchange: tuple[Pattern, ClosedForm] = (traffic.all_to_all, all_to_all_s)
    common: dict[AxisName, tuple[Pattern, ClosedForm]] = {
        "tp": ring,
        "cp": shift,
        "dp": ring,
        "dp_replicate": ring,
        "dp_shard_cp": ring,
        "pp": shift,
    }
    experts: dict[AxisName, tuple[Pattern, ClosedForm]] = {"ep": exchange, "expert_dp": ring}
    return common | experts if mixture else common


def _time_s(cluster: ClusterSpec, pattern: Pattern, groups: list[list[str]]) -> float:
    from simulator.fabric.traffic import time_s

    routes = _routes(cluster)
    return time_s(routes, pattern(routes, groups, MESSAGE_BYTES))


@lru_cache(maxsize=2)
def _routes(cluster: ClusterSpec) -> Routes:
    from simulator.fabric.flows import Routes
    from simulator.fabric.topology import build_graph

    return Routes(build_graph(cluster))


def _check(cluster: ClusterSpec) -> None:
    where = f"cluster {cluster.name}: link_model"
    if cluster.n_devices > MAX_FLOW_DEVICES:
        raise InputError(
            f"flows over {cluster.n_devices} devices, more than {MAX_FLOW_DEVICES}",
            where=where,
            fix="use levels, or look at a part of the cluster: the rest behaves alike",
        )
    if cluster.scale_up.topology not in ("switch", "shared-memory"):
        raise InputError(f"flows over a {cluster.scale_up.topology}", where=where, fix="use levels")
