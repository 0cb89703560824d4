"""The nodes of a campaign as numbers: how many, how they are grouped, which are lemons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import IntArray
from simulator.spec.cluster import ClusterSpec
from simulator.spec.reliability import CohortSpec, ReliabilitySpec, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Nodes 0 .. n_nodes-1 hold ranks at the start, the n_spares after them wait."""

    n_nodes: int
    n_spares: int
    endless_spares: bool
    """Whether a replacement is always at hand, so that a node only ever changes its hardware."""
    devices_per_node: int
    domain_nodes: dict[Scope, int]
    """Nodes that one event of each scope strikes."""

    @property
    def n_units(self) -> int:
        """Nodes and spares together."""
        return self.n_nodes + self.n_spares

    def domain(self, scope: Scope, node: int) -> range:
        """Return the nodes that go with `node` when an event of that scope strikes it."""
        size = self.domain_nodes[scope]
        if size == 1:
            return range(node, node + 1)
        first = node // size * size
        return range(first, min(first + size, self.n_units))


def build_fleet(
    cluster: ClusterSpec, asked: ReliabilitySpec, *, n_ranks: int, n_spares: int | None
) -> Fleet:
    """Return the nodes that a job of `n_ranks` pays for; None means endless spares."""
    n_nodes = -(-n_ranks // cluster.devices_per_node)
    return Fleet(
        n_nodes=n_nodes,
        n_spares=n_spares or 0,
        endless_spares=n_spares is None,
        devices_per_node=cluster.devices_per_node,
        domain_nodes=domain_nodes(cluster, asked, n_nodes + (n_spares or 0)),
    )


def domain_nodes(cluster: ClusterSpec, asked: ReliabilitySpec, n_nodes: int) -> dict[Scope, int]:
    """Return how many of `n_nodes` one event of each scope strikes."""
    per_rack = asked.nodes_per_rack or max(
        1, cluster.scale_up_domain_devices // cluster.devices_per_node
    )
    return {
        "job": 1,
        "node": 1,
        "rack": min(per_rack, n_nodes),
        "pdu": min(max(per_rack, asked.nodes_per_pdu or per_rack), n_nodes),
        "pod": min(cluster.fabric.nodes_per_pod or n_nodes, n_nodes),
        "region": math.ceil(n_nodes / cluster.fabric.n_regions),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Some of the units, spread over the fleet, that fail alike."""

    first: int
    """Position of its first unit in the order that `Cohorts.units` deals out."""
    size: int
    rate_factor: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Cohorts:
    """A division of n units into cohorts that are spread evenly over the fleet."""

    n_units: int
    members: tuple[Cohort, ...]
    stride: int

    @classmethod
    def of(cls, specs: tuple[CohortSpec, ...], n_units: int) -> Cohorts:
        """Deal the units out to the cohorts; those that are in none are ordinary."""
        members = []
        first = 0
        for spec in specs:
            size = min(round(spec.share * n_units), n_units - first)
            members.append(
                Cohort(first=first, size=size, rate_factor=spec.rate_factor, age_s=spec.age_s)
            )
            first += size
        if first < n_units:
            members.append(Cohort(first=first, size=n_units - first, rate_factor=1.0, age_s=0.0))
        return cls(n_units, tuple(members), _coprime_near(0.618 * n_units, n_units))

    def units(self, positions: npt.ArrayLike) -> IntArray:
        """Return the units at these positions, of which every cohort has a range."""
        return np.asarray(positions) * self.stride % self.n_units


def _coprime_near(value: float, n: int) -> int:
    candidate = max(1, round(value))
    while math.gcd(candidate, n) != 1:
        candidate += 1
    return candidate
