"""The scale-up domain: how many devices it joins, its torus, and how much of it a ring uses."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from simulator.spec.cluster import ClusterSpec


def scale_up_devices(cluster: ClusterSpec) -> int:
    """Devices of one scale-up domain; all of them where there is no fabric."""
    if cluster.fabric.kind == "none":
        return cluster.n_devices
    return min(cluster.scale_up_domain_devices, cluster.n_devices)


def torus_shape(cluster: ClusterSpec) -> tuple[int, ...]:
    """Extents of the torus of a scale-up domain, outermost first.

    The stated `torus_shape` where it fits the devices, otherwise the one nearest to a cube.
    """
    domain = scale_up_devices(cluster)
    stated = cluster.fabric.torus_shape
    if math.prod(stated) == domain:
        return stated
    n_dims = 2 if cluster.scale_up.topology == "torus-2d" else 3
    shape: list[int] = []
    for left in range(n_dims, 0, -1):
        target = domain ** (1 / left) + 1e-9
        extent = max(d for d in range(1, int(target) + 1) if domain % d == 0)
        extent = domain if left == 1 else extent
        shape.append(extent)
        domain //= extent
    return tuple(shape)


def ring_port_share(
    cluster: ClusterSpec, members: npt.NDArray[np.int64], stride: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Share of a device's scale-up links that rings over some members of its domain can use.

    Behind a switch all of them. In a full mesh those that lead to members. In a torus both
    directions of every dimension that the group covers, and one direction of a dimension that it
    covers in part, where the ring does not close.
    """
    domain = scale_up_devices(cluster)
    topology = cluster.scale_up.topology
    if topology == "mesh" and domain > 1:
        return np.where(members > 1, (members - 1) / (domain - 1), 1.0)
    if topology not in ("torus-2d", "torus-3d"):
        return np.ones(members.shape)
    shape = [extent for extent in torus_shape(cluster) if extent > 1]
    share = np.zeros(members.shape)
    step = 1
    for extent in reversed(shape):
        covered = np.minimum(members * stride, step * extent) // np.maximum(stride, step)
        share += np.where(covered >= extent, 1.0, np.where(covered > 1, 0.5, 0.0))
        step *= extent
    return np.where(members > 1, np.maximum(share, 0.5) / len(shape), 1.0)
