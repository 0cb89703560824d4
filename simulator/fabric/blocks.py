"""Blocks of devices: scale-up domains inside pods inside regions, each of consecutive devices."""

from __future__ import annotations

from simulator.spec.cluster import ClusterSpec


def scale_up_devices(cluster: ClusterSpec) -> int:
    """Devices of one scale-up domain; all of them where there is no fabric."""
    if cluster.fabric.kind == "none":
        return cluster.n_devices
    return min(cluster.scale_up_domain_devices, cluster.n_devices)


def pod_devices(cluster: ClusterSpec) -> int:
    """Devices under one set of leaf switches; the region where pods are not told apart."""
    region = region_devices(cluster)
    return min(cluster.fabric.nodes_per_pod * cluster.devices_per_node or region, region)


def region_devices(cluster: ClusterSpec) -> int:
    """Devices of one region; the last one may hold fewer."""
    return -(-cluster.n_devices // cluster.fabric.n_regions)
