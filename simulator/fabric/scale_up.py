"""Inside a scale-up domain: the shape of its torus, and how much of its links a group can use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.spec.cluster import ClusterSpec

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PortShares:
    """Shares of a device's bandwidth that patterns of traffic reach; shapes (n,) or scalars."""

    ring: FloatArray | float = 1.0
    """Rings, several at once where there are several ways around."""
    exchange: FloatArray | float = 1.0
    """Every member to every other."""
    pair: FloatArray | float = 1.0
    """Each member to its neighbour."""


def port_shares(cluster: ClusterSpec, members: IntArray, stride: IntArray) -> PortShares:
    """Return what groups of some members of a domain, `stride` devices apart, have of its links.

    Behind a switch, all. In a full mesh, the links that lead to members, and one of them for a
    pair. For a torus see `_torus_shares`.
    """
    domain = cluster.domain_devices
    topology = cluster.scale_up.topology
    if topology == "mesh" and domain > 1:
        to_members = np.where(members > 1, members - 1, domain - 1) / (domain - 1)
        return PortShares(to_members, to_members, 1 / (domain - 1))
    if topology in ("torus-2d", "torus-3d") and domain > 1:
        return _torus_shares(torus_shape(cluster), members, stride)
    return PortShares()


def torus_shape(cluster: ClusterSpec) -> tuple[int, ...]:
    """Extents of the torus of a scale-up domain, outermost first.

    The stated `torus_shape` where it fits the devices, otherwise the one nearest to a cube.
    """
    domain = cluster.domain_devices
    stated = cluster.fabric.torus_shape
    if math.prod(stated) == domain:
        return stated
    shape: list[int] = []
    for left in range(2 if cluster.scale_up.topology == "torus-2d" else 3, 1, -1):
        limit = int(domain ** (1 / left) + 1e-9)
        extent = next(d for d in range(limit, 0, -1) if domain % d == 0)
        shape.append(extent)
        domain //= extent
    return (*shape, domain)


def _torus_shares(shape: tuple[int, ...], members: IntArray, stride: IntArray) -> PortShares:
    """Shares in a torus with 1 / (2 dimensions) of a device's bandwidth in every direction.

    Rings use both directions of every dimension that the group covers [1]_, and one direction of
    those it covers in part, where the ring does not close. For all-to-all, the n members along a
    dimension load its busiest link with n/8 of a message where the ring closes and with n/4 where
    it does not.

    References
    ----------
    .. [1] Sack, Gropp, "Collective algorithms for multiported torus networks", ACM TOPC 1 (2015).
    """
    extents = [extent for extent in reversed(shape) if extent > 1]
    directions = np.zeros(members.shape)
    busiest = np.zeros(members.shape)
    step = 1
    for extent in extents:
        reach = np.minimum(members * stride, step * extent)
        along = np.maximum(reach // np.maximum(stride, step), 1)
        closed = along >= extent
        directions += np.where(closed, 2, np.where(along > 1, 1, 0))
        load = along**2 // 4 / np.where(closed, 2 * along, along)
        busiest = np.maximum(busiest, np.where(along > 1, load, 0.0))
        step *= extent
    ports = 2 * len(extents)
    several = members > 1
    leaving = np.where(several, 1 - 1 / members, 1.0)
    return PortShares(
        ring=np.where(several, np.maximum(directions, 1) / ports, 1.0),
        exchange=np.where(several, leaving / np.where(several, busiest, 1.0) / ports, 1.0),
        pair=1 / ports,
    )
