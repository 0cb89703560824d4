"""A layout laid over what one asks for and what the catalog says."""

from __future__ import annotations

from typing import Any

from simulator.catalog.layouts.drawn import drawn_fabric
from simulator.catalog.layouts.layout import Layout
from simulator.spec.base import Basis, Source
from simulator.spec.cluster import DeviceSpec, FabricSpec
from simulator.spec.cluster_request import ClusterRequest
from simulator.spec.errors import InputError

FASTEST_PCIE_BYTES_PER_S = 130e9
"""Above it, a link between devices is none of PCIe's (generation 6, 16 lanes: 121 GB/s)."""


def request_of(
    layout: Layout, request: ClusterRequest, device: DeviceSpec, where: str | None
) -> ClusterRequest:
    """Return the request with what the layout says and it does not.

    Raises InputError where the layout cannot be that of such devices.
    """
    fast = device.scale_up.bandwidth_bytes_per_s > FASTEST_PCIE_BYTES_PER_S
    if layout.has_direct_links is False and layout.scale_up is None and fast:
        raise InputError(
            f"no NVLink joins the devices, and {device.name} has it",
            where=where,
            fix="name the PCIe card (`armillary list devices`)",
        )
    changes: dict[str, Any] = {
        "nodes": layout.nodes,
        "devices_per_node": layout.devices_per_node,
        "scale_up": layout.scale_up,
        "scale_up_domain_devices": _domain(layout, device),
    }
    given = request.model_dump(exclude_none=True)
    if layout.graph is not None and layout.graph.host_kind == "device" and "nodes" not in given:
        changes["devices"] = layout.graph.n_hosts
    new = {name: value for name, value in changes.items() if value and name not in given}
    return request.model_copy(update=new)


def _domain(layout: Layout, device: DeviceSpec) -> int | None:
    """Return the devices that the scale-up link joins; a block is one where it spans nodes."""
    if layout.nodes_per_block and _spans_nodes(device):
        block = layout.nodes_per_block * device.devices_per_node
        return min(block, device.scale_up_domain_devices)
    return layout.scale_up_domain_devices


def _spans_nodes(device: DeviceSpec) -> bool:
    return device.scale_up_domain_devices > device.devices_per_node


def fabric_of(
    layout: Layout, fabric: FabricSpec, device: DeviceSpec, n_nodes: int, devices_per_node: int
) -> FabricSpec:
    """Return the fabric with the pods and network interfaces of the layout."""
    if layout.graph is not None:
        return drawn_fabric(layout.graph, fabric, n_nodes, devices_per_node)
    changes: dict[str, Any] = {}
    block = None if _spans_nodes(device) else layout.nodes_per_block
    pod = layout.nodes_per_pod or block
    if pod is not None:
        changes["nodes_per_pod"] = pod
    if layout.nics_per_node:
        per_nic = layout.nic_bandwidth_bytes_per_s or fabric.nic.bandwidth_bytes_per_s
        share = per_nic * layout.nics_per_node / devices_per_node
        changes["nic"] = fabric.nic.model_copy(update={"bandwidth_bytes_per_s": share})
        changes["nics_per_node"] = min(layout.nics_per_node, devices_per_node)
    if not changes or fabric.kind == "none":
        return fabric
    source = "read from the cluster's own layout"
    read = tuple(Source(field=name, basis=Basis.MEASURED, source=source) for name in changes)
    return fabric.model_copy(update=changes | {"sources": fabric.sources + read})
