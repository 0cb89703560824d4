"""From the cluster one writes to the cluster the simulator reads."""

from __future__ import annotations

import re
from pathlib import Path

from simulator.catalog.mistakes import validate
from simulator.catalog.registry import find_device, find_fabric, list_names
from simulator.catalog.yaml_text import LIMIT_BYTES, read_yaml
from simulator.spec.cluster import ClusterRequest, ClusterSpec, DeviceSpec, FabricSpec
from simulator.spec.errors import InputError
from simulator.spec.files import read_text

_SHORT_FORM = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?::(\d[\d_]{0,12}))?")


def parse_short_form(text: str, *, where: str | None = None) -> ClusterRequest:
    """Return the request behind `h100-sxm:64` (a count of devices; without one, one node)."""
    match = _SHORT_FORM.fullmatch(text)
    if match is None:
        raise InputError(
            f"cluster {text!r:.60} is not a device with a count",
            where=where,
            fix="write it like h100-sxm:64",
        )
    device = find_device(match[1], where=where)
    if match[2] is None:
        return ClusterRequest(device=device.name, nodes=1)
    count = int(match[2])
    if not 1 <= count <= 10**9:
        raise InputError(
            f"cluster {text!r:.60}: {count} devices", where=where, fix="count from 1 to 1e9"
        )
    return ClusterRequest(device=device.name, devices=count)


def build_cluster(request: ClusterRequest, *, where: str | None = None) -> ClusterSpec:
    """Return the catalog's cluster of that device and size, changed by what the request says.

    Without a count it is one node. Fewer devices than a node holds make one smaller node.
    """
    device = find_device(request.device, where=where)
    if request.memory is not None:
        device = device.model_copy(update={"memory_bytes": request.memory})
    nodes, per_node = _node_counts(request, device, where)
    domain = request.scale_up_domain_devices or device.scale_up_domain_devices
    if domain <= device.devices_per_node:
        domain = min(domain, per_node)
    return ClusterSpec(
        name=request.name or f"{device.name}-x{nodes * per_node}",
        device=device,
        n_nodes=nodes,
        devices_per_node=per_node,
        scale_up=request.scale_up or device.scale_up,
        scale_up_domain_devices=domain,
        fabric=_fabric(request, device, nodes, where),
        host=request.host or device.host,
        calibration=request.calibration,
    )


def _node_counts(request: ClusterRequest, device: DeviceSpec, where: str | None) -> tuple[int, int]:
    """Return (nodes, devices per node)."""
    per_node = request.devices_per_node or device.devices_per_node
    if request.devices is None:
        return request.nodes or 1, per_node
    devices = request.devices
    if request.devices_per_node is None and request.nodes is not None:
        per_node = max(1, devices // request.nodes)
    elif request.devices_per_node is None:
        per_node = min(per_node, devices)
    nodes = request.nodes or max(1, devices // per_node)
    if nodes * per_node != devices:
        raise InputError(
            f"devices={devices} is not nodes x devices per node = {nodes} x {per_node}",
            where=where,
            fix=f"use {nodes * per_node} or {(nodes + 1) * per_node} devices, or say "
            "devices_per_node",
        )
    return nodes, per_node


def _fabric(
    request: ClusterRequest, device: DeviceSpec, nodes: int, where: str | None
) -> FabricSpec:
    if isinstance(request.fabric, FabricSpec):
        return request.fabric
    if request.fabric is not None:
        return find_fabric(request.fabric, where=where)
    return default_fabric(device, nodes)


def default_fabric(device: DeviceSpec, nodes: int) -> FabricSpec:
    """Return the rail-optimized fabric of the device's usual network interface."""
    if nodes == 1:
        return find_fabric("none")
    speed = round(device.nic_bandwidth_bytes_per_s * 8 / 1e9)
    name = f"rail-optimized-{speed}g"
    if name in list_names("fabrics"):
        return find_fabric(name)
    return find_fabric("ethernet-10g")


def parse_cluster(text: str, *, where: str | None = None) -> ClusterSpec:
    """Return the cluster of a short form (`h100-sxm:64`, `cpu:2`) or of a cluster file."""
    if "/" in text or text.endswith((".yaml", ".yml")):
        return read_cluster_file(Path(text))
    return build_cluster(parse_short_form(text, where=where), where=where)


def read_cluster_file(path: Path) -> ClusterSpec:
    """Return the cluster of a YAML file: a whole one or a request."""
    document = read_yaml(read_text(path, limit_bytes=LIMIT_BYTES), str(path))
    value = document.value
    if isinstance(value, dict) and isinstance(value.get("device"), dict):
        return validate(ClusterSpec, document, value)
    return build_cluster(validate(ClusterRequest, document, value), where=str(path))
