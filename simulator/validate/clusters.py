"""The cluster behind a row: a catalog device, its count, and the fabric that the row names."""

from __future__ import annotations

import re

from simulator.catalog import find_fabric
from simulator.catalog.cluster import build_cluster, default_fabric
from simulator.spec.cluster import ClusterSpec, DeviceSpec, FabricSpec
from simulator.spec.cluster_request import ClusterRequest
from simulator.validate.devices import device_of
from simulator.validate.rows import RunRow

KNOWN_FABRICS = ((r"Hagemann", "hagemann-a100"),)
"""Fabrics of the catalog whose efficiency was measured, by a word of the source."""
GBPS = 1e9 / 8
_PER_DEVICE = re.compile(r"(\d+) ?Gb(?:/s|ps) per GPU")
_LINKS_PER_NODE = re.compile(r"(\d+) ?x ?(\d+) ?Gb(?:/s|ps)?\b")
_PER_NODE = re.compile(r"([\d.]+) ?([GT])b(?:/s|ps)(?: \w+)? per (?:node|server|host)")
_SLICES = re.compile(r"(\d+) slice")


def cluster_of(row: RunRow) -> ClusterSpec:
    """Return the cluster of a row. Raises InputError for an unknown device."""
    device = device_of(row.device)
    n_devices = row.n_devices or 1
    per_node = _node_size(n_devices, row.devices_per_node or device.devices_per_node)
    n_nodes = n_devices // per_node
    slices = _SLICES.search(row.interconnect)
    return build_cluster(
        ClusterRequest(
            device=device.name,
            devices=n_devices,
            devices_per_node=per_node,
            fabric=_fabric(row, device, n_nodes, per_node),
            scale_up_domain_devices=n_devices // int(slices[1]) if slices else None,
        )
    )


def _node_size(n_devices: int, usual: int) -> int:
    """Largest equal share of the devices that a usual node has room for."""
    return max(size for size in range(1, min(usual, n_devices) + 1) if n_devices % size == 0)


def _fabric(row: RunRow, device: DeviceSpec, n_nodes: int, per_node: int) -> FabricSpec:
    """The device's usual fabric, at the speed that the row states."""
    fabric = default_fabric(device, n_nodes, per_node)
    for pattern, name in KNOWN_FABRICS:
        if n_nodes > 1 and re.search(pattern, row.source):
            return find_fabric(name)
    stated = _stated_gbps(row.interconnect, per_node)
    if n_nodes == 1 or not stated:
        return fabric
    nic = fabric.nic.model_copy(update={"bandwidth_bytes_per_s": stated * GBPS})
    return fabric.model_copy(update={"nic": nic})


def _stated_gbps(text: str, per_node: int) -> float:
    """Scale-out Gb/s of one device; 0 where the text does not say."""
    per_device = _PER_DEVICE.search(text)
    if per_device:
        return float(per_device[1])
    links = _LINKS_PER_NODE.search(text)
    if links:
        return int(links[1]) * int(links[2]) / per_node
    whole = _PER_NODE.search(text)
    if whole:
        return float(whole[1]) * (1000.0 if whole[2] == "T" else 1.0) / per_node
    return 0.0
