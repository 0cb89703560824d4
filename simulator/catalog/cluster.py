"""From the cluster one writes to the cluster the simulator reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulator.catalog.kernel_table import read_kernel_table
from simulator.catalog.layers import looks_like_path, over, read_mapping, with_bases
from simulator.catalog.layouts import Layout, read_layout
from simulator.catalog.layouts.apply import fabric_of, request_of
from simulator.catalog.layouts.drawn import fabric_of_first
from simulator.catalog.mistakes import validate
from simulator.catalog.registry import find_device, find_fabric, list_names
from simulator.catalog.variant import variant_fields
from simulator.catalog.yaml_text import Document, to_yaml
from simulator.spec.cluster import (
    Calibration,
    ClusterSpec,
    DeviceSpec,
    FabricSpec,
    HostSpec,
    LinkSpec,
)
from simulator.spec.cluster_request import ClusterRequest
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic
from simulator.spec.kernel_table import KernelTable
from simulator.spec.links import AlgorithmName, LinkFault, LinkModel

_SHORT_FORM = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?::(\d[\d_]{0,12}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """The cluster that a request starts from."""

    name: str | None
    device: DeviceSpec
    n_nodes: int
    node_capacity: int
    """Devices that a node can hold."""
    scale_up: LinkSpec
    scale_up_domain_devices: int
    fabric: FabricSpec | None
    """None means what the device's network interface usually leads to."""
    host: HostSpec
    calibration: Calibration | None
    collective_algorithm: AlgorithmName | None = None
    link_model: LinkModel = "levels"
    link_faults: tuple[LinkFault, ...] = ()
    kernels: KernelTable | None = None
    power_limit_w: float | None = None


def _catalog_base(device: DeviceSpec) -> _Base:
    return _Base(
        name=None,
        device=device,
        n_nodes=1,
        node_capacity=device.devices_per_node,
        scale_up=device.scale_up,
        scale_up_domain_devices=device.scale_up_domain_devices,
        fabric=None,
        host=device.host,
        calibration=None,
    )


def _cluster_base(cluster: ClusterSpec) -> _Base:
    alone = cluster.n_nodes == 1
    capacity = max(cluster.devices_per_node, cluster.device.devices_per_node)
    domain = max(cluster.scale_up_domain_devices, cluster.device.scale_up_domain_devices)
    return _Base(
        name=cluster.name,
        device=cluster.device,
        n_nodes=cluster.n_nodes,
        node_capacity=capacity if alone else cluster.devices_per_node,
        scale_up=cluster.scale_up,
        scale_up_domain_devices=domain if alone else cluster.scale_up_domain_devices,
        fabric=None if cluster.fabric.kind == "none" else cluster.fabric,
        host=cluster.host,
        calibration=cluster.calibration,
        collective_algorithm=cluster.collective_algorithm,
        link_model=cluster.link_model,
        link_faults=cluster.link_faults,
        kernels=cluster.kernels,
        power_limit_w=cluster.power_limit_w,
    )


def build_cluster(request: ClusterRequest, *, where: str | None = None) -> ClusterSpec:
    """Return the catalog's cluster of that device and size, changed by what the request says.

    Without a count it is one node. Fewer devices than a node holds make one smaller node.
    """
    return _build(request, _catalog_base(find_device(request.device, where=where)), where)


def _build(request: ClusterRequest, base: _Base, where: str | None) -> ClusterSpec:
    layout = Layout() if request.layout is None else read_layout(request.layout, where=where)
    request = request_of(layout, request, base.device, where)
    nodes, per_node = _node_counts(request, base, where)
    device = base.device
    if request.memory is not None:
        device = device.model_copy(update={"memory_bytes": request.memory})
    domain = request.scale_up_domain_devices or base.scale_up_domain_devices
    if domain <= base.node_capacity:
        domain = min(domain, per_node)
    fields = {
        "name": request.name or base.name or f"{device.name}-x{nodes * per_node}",
        "device": device,
        "n_nodes": nodes,
        "devices_per_node": per_node,
        "scale_up": request.scale_up or base.scale_up,
        "scale_up_domain_devices": domain,
        "fabric": fabric_of(
            layout if request.fabric is None else layout.model_copy(update={"graph": None}),
            _fabric(request, base, nodes, per_node, where),
            device,
            nodes,
            per_node,
        ),
        "collective_algorithm": request.collective_algorithm or base.collective_algorithm,
        "link_model": request.link_model or base.link_model,
        "link_faults": request.link_faults or base.link_faults,
        "power_limit_w": request.power_limit_w or base.power_limit_w,
        "host": request.host or base.host,
        "calibration": request.calibration or base.calibration,
        "kernels": _kernels(request.kernels, device) or base.kernels,
    }
    return validate(ClusterSpec, Document(fields, {}, where or "cluster"), fields)


def _kernels(kernels: str | KernelTable | None, device: DeviceSpec) -> KernelTable | None:
    return read_kernel_table(kernels, device) if isinstance(kernels, str) else kernels


def _node_counts(request: ClusterRequest, base: _Base, where: str | None) -> tuple[int, int]:
    """Return (nodes, devices per node)."""
    if request.devices is None:
        return request.nodes or base.n_nodes, request.devices_per_node or base.node_capacity
    devices = request.devices
    per_node = request.devices_per_node or min(base.node_capacity, devices)
    nodes = request.nodes or max(1, devices // per_node)
    if request.devices_per_node is None and request.nodes is not None:
        per_node = max(1, devices // nodes)
    if nodes * per_node != devices:
        raise InputError(
            f"devices={devices} is not nodes x devices per node = {nodes} x {per_node}",
            where=where,
            fix=f"use {nodes * per_node} or {(nodes + 1) * per_node} devices, or give "
            "devices_per_node",
        )
    return nodes, per_node


def _fabric(
    request: ClusterRequest, base: _Base, nodes: int, per_node: int, where: str | None
) -> FabricSpec:
    if isinstance(request.fabric, FabricSpec):
        return fabric_of_first(request.fabric, nodes, per_node)
    if request.fabric is not None:
        return _shared(find_fabric(request.fabric, where=where), per_node)
    if base.fabric is not None:
        return fabric_of_first(base.fabric, nodes, per_node)
    return default_fabric(base.device, nodes, per_node)


def _shared(fabric: FabricSpec, per_node: int) -> FabricSpec:
    """Return a catalog fabric, whose NIC is one interface, with each device's share of it."""
    share = min(1.0, fabric.nics_per_node / per_node) if fabric.nics_per_node else 1.0
    bandwidth = fabric.nic.bandwidth_bytes_per_s * share
    nic = fabric.nic.model_copy(update={"bandwidth_bytes_per_s": bandwidth})
    return fabric.model_copy(update={"nic": nic})


def _is_torus(link: LinkSpec) -> bool:
    return link.topology in ("torus-2d", "torus-3d")


def default_fabric(device: DeviceSpec, nodes: int, per_node: int) -> FabricSpec:
    """Return the fabric that the device's network interface usually leads to."""
    if nodes == 1:
        return find_fabric("none")
    if device.scale_up_domain_devices > device.devices_per_node and _is_torus(device.scale_up):
        return find_fabric("ici-torus")
    if device.scale_up.topology == "shared-memory":
        return _shared(find_fabric("ethernet-25g"), per_node)
    name = f"rail-optimized-{device.nic_bandwidth_bytes_per_s * 8 / 1e9:g}g"
    if name in list_names("fabrics"):
        return find_fabric(name)
    roce = find_fabric("roce")
    nic = roce.nic.model_copy(update={"bandwidth_bytes_per_s": device.nic_bandwidth_bytes_per_s})
    return roce.model_copy(update={"nic": nic})


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
        return ClusterRequest(device=device.name)
    count = int(match[2])
    if not 1 <= count <= 10**9:
        raise InputError(f"cluster {text!r:.60}: {count} devices", where=where, fix="use 1 to 1e9")
    return ClusterRequest(device=device.name, devices=count)


def parse_cluster(text: str, *, where: str | None = None) -> ClusterSpec:
    """Return the cluster of a short form (`h100-sxm:64`, `h100-sxm@slurm:FILE`) or of a file."""
    place = where or "cluster"
    document = Document({"cluster": text}, {("cluster",): place}, place)
    return cluster_of(with_bases(document, Path()))


def read_cluster_file(path: str | Path) -> ClusterSpec:
    """Return the cluster of a YAML file: a whole one, or the fields of a request."""
    document = read_mapping(Path(path))
    if isinstance(document.value.get("kernels"), str):
        document.value["kernels"] = str(Path(path).parent / document.value["kernels"])
    base = document.value.get("base")
    if isinstance(base, str) and looks_like_path(base):
        raise InputError(
            "base: a cluster file cannot start from another file",
            where=document.where(("base",)),
            fix="start from a device and a count, like h100-sxm:64",
        )
    return _cluster_of(document, document.value, ())


def write_cluster_file(path: str | Path, cluster: ClusterSpec, *, comment: str = "") -> None:
    """Write a whole cluster, which `read_cluster_file` returns equal."""
    write_atomic(path, to_yaml(cluster, comment=comment))


def cluster_of(document: Document) -> ClusterSpec:
    """Return the cluster of a scenario's `cluster` section."""
    value = document.value.get("cluster")
    if not isinstance(value, dict):
        raise document.mistake(
            ("cluster",),
            "is missing or neither a name nor fields",
            "write cluster: h100-sxm:64, or see `armillary list devices`",
        )
    return _cluster_of(document, value, ("cluster",))


def _cluster_of(document: Document, value: dict[str, Any], path: tuple[str, ...]) -> ClusterSpec:
    """Return the cluster of a mapping: a whole one, or a base with changes."""
    if isinstance(value.get("device"), dict):
        return _whole(document, value, path)
    where = document.where(path)
    changes = {key: field for key, field in value.items() if key != "base"}
    base: _Base | None = None
    if isinstance(value.get("base"), Document):
        changes = _kept_beside_device(cluster_of(value["base"]), changes) | changes
    elif "base" in value:
        text = str(value["base"])
        if looks_like_path(text):
            cluster = read_cluster_file(text)
            if not changes:
                return cluster
            base = _cluster_base(cluster)
            changes = {"device": cluster.device.name} | changes
        else:
            short = parse_short_form(text, where=document.where((*path, "base")))
            changes = over(short.model_dump(exclude_unset=True), changes)
    if isinstance(changes.get("fabric"), dict) and "base" in changes["fabric"]:
        changes["fabric"] = _fabric_variant(changes["fabric"], document.where((*path, "fabric")))
    request = validate(ClusterRequest, document, changes, path)
    if base is None:
        base = _catalog_base(find_device(request.device, where=document.where((*path, "device"))))
    return _build(request, base, where)


def _whole(document: Document, value: dict[str, Any], path: tuple[str, ...]) -> ClusterSpec:
    """Return the cluster of a mapping that holds all of it; kernels and fabric may be names.

    `nodes` or `devices` in it make another size of the same cluster.
    """
    sizes = {key: value[key] for key in ("nodes", "devices") if key in value}
    if sizes:
        whole = _whole(document, {key: value[key] for key in value.keys() - sizes.keys()}, path)
        base = _cluster_base(whole)
        if whole.name == f"{whole.device.name}-x{whole.n_devices}":
            base = replace(base, name=None)
        asked = validate(ClusterRequest, document, {"device": whole.device.name} | sizes, path)
        return _build(asked, base, document.where(path))
    kernels, fabric = value.get("kernels"), value.get("fabric")
    resolved: dict[str, Any] = {}
    if isinstance(kernels, str):
        resolved["kernels"] = None
    named = fabric if isinstance(fabric, str) else None
    if named is not None:
        found = find_fabric(named, where=document.where((*path, "fabric")))
        resolved["fabric"] = found.model_dump()
    elif isinstance(fabric, dict) and "base" in fabric:
        resolved["fabric"] = _fabric_variant(fabric, document.where((*path, "fabric")))
    whole = validate(ClusterSpec, document, value | resolved, path)
    if named is not None:
        shared = _shared(whole.fabric, whole.devices_per_node)
        whole = whole.model_copy(update={"fabric": shared})
    if isinstance(kernels, str):
        table = read_kernel_table(kernels, whole.device)
        whole = whole.model_copy(update={"kernels": table})
    return whole


def with_another_device(cluster: ClusterSpec, name: str, n_devices: int) -> ClusterSpec:
    """Return so many devices of another kind, as `cluster.device` set over the cluster does."""
    device = find_device(name)
    changes = {"device": device.name, "devices": n_devices}
    kept = _kept_beside_device(cluster, changes)
    return build_cluster(validate(ClusterRequest, Document(kept, {}, "cluster"), kept | changes))


def _kept_beside_device(cluster: ClusterSpec, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a cluster that stay when `changes` only name another device.

    There are as many devices, on the same fabric; one that such devices usually have is not kept.
    """
    kept: dict[str, Any] = {}
    if not {"nodes", "devices"} & changes.keys():
        kept["devices"] = cluster.n_devices
    fabric, per_node = cluster.fabric, cluster.devices_per_node
    usual = default_fabric(cluster.device, cluster.n_nodes, per_node)
    if fabric not in (usual, find_fabric("none")):
        named = fabric.name in list_names("fabrics")
        same = named and fabric == _shared(find_fabric(fabric.name), per_node)
        kept["fabric"] = fabric.name if same else fabric.model_dump()
    return kept


def _fabric_variant(fields: dict[str, Any], where: str) -> dict[str, Any]:
    base = find_fabric(str(fields["base"]), where=where)
    return variant_fields(base, {key: field for key, field in fields.items() if key != "base"})
