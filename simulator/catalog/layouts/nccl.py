"""NCCL's dump of one node's topology (NCCL_TOPO_DUMP_FILE): devices, links, network interfaces.

The file is XML from a stranger: document types, and with them entities, are refused.

References: NVIDIA/nccl: src/graph/xml.cc (elements and attributes), src/graph/topo.cc (speed of a
net in Mb/s, link_width lanes of link_speed).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from simulator.catalog.layouts.layout import Layout, joined
from simulator.spec.cluster import LinkSpec
from simulator.spec.errors import InputError

LIMIT_DEPTH = 40
LIMIT_DEVICES = 1024
_DIRECT = ("nvlink", "xgmi")
_DEVICE_CLASSES = ("0x03", "0x12")
"""PCI classes of display controllers and accelerators; other targets of links are switches."""
_PCIE_SHARE = 128 / 130
"""Of the transfers of PCIe 3 and later that carry data."""


@dataclass(slots=True)
class _Device:
    bus: str
    pcie_bytes_per_s: float
    links: list[tuple[str, str]] = field(default_factory=list)
    """Bus and class of what each direct link leads to."""


@dataclass(slots=True)
class _Dump:
    name: str
    path: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    devices: list[_Device] = field(default_factory=list)
    nics: dict[str, float] = field(default_factory=dict)
    """Speed in bytes/s of every network device."""

    def start(self, tag: str, values: dict[str, str]) -> None:
        """Take an element that begins."""
        self.path.append((tag, values))
        if len(self.path) > LIMIT_DEPTH:
            raise InputError(f"nested deeper than {LIMIT_DEPTH} levels", where=self.name)
        if tag == "gpu":
            self._device()
        elif tag in _DIRECT and self.devices:
            target = values.get("target", "").lower(), values.get("tclass", "")
            self.devices[-1].links.append(target)
        elif tag == "net" and values.get("name") and values.get("keep", "1") != "0":
            self.nics[values["name"]] = _number(values.get("speed", "0"), self.name) * 1e6 / 8

    def end(self, _tag: str) -> None:
        """Leave an element."""
        self.path.pop()

    def refuse(self, *_: object) -> None:
        """Refuse a document type."""
        raise InputError("a document type (<!DOCTYPE)", where=self.name, fix="remove it")

    def _device(self) -> None:
        if len(self.devices) >= LIMIT_DEVICES:
            raise InputError(f"more than {LIMIT_DEVICES} devices", where=self.name)
        around = [values for tag, values in self.path if tag == "pci"]
        cpus = [values for tag, values in self.path if tag == "cpu"]
        self.hosts.update(values.get("host_hash", "") for values in cpus)
        slot = around[-1] if around else {}
        self.devices.append(_Device(slot.get("busid", "").lower(), _pcie(slot, self.name)))


def read_nccl_dump(text: str, name: str) -> Layout:
    """Return the layout of a dump. Raises InputError where it is none."""
    dump = _Dump(name)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = dump.start, dump.end
    parser.StartDoctypeDeclHandler = dump.refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise InputError(
            f"not valid XML: {expat.ErrorString(error.code)}",
            where=f"{name}:{error.lineno}",
            fix="give the file that NCCL_TOPO_DUMP_FILE names",
        ) from None
    if not dump.devices:
        raise InputError(
            "names no device (<gpu>)", where=name, fix="give the file of NCCL_TOPO_DUMP_FILE"
        )
    return _layout(dump)


def _layout(dump: _Dump) -> Layout:
    n_devices, n_hosts = len(dump.devices), max(1, len(dump.hosts))
    if n_devices % n_hosts:
        raise InputError(f"{n_devices} devices on {n_hosts} hosts", where=dump.name)
    by_bus = {device.bus: at for at, device in enumerate(dump.devices)}
    links = [(at, link) for at, device in enumerate(dump.devices) for link in device.links]
    by_switch = any(not target_class.startswith(_DEVICE_CLASSES) for _, (_, target_class) in links)
    pairs = [(at, by_bus[bus]) for at, (bus, _) in links if bus in by_bus]
    sizes = {n_devices} if by_switch else joined(n_devices, pairs)
    if len(sizes) > 1:
        raise InputError(
            f"direct links join groups of {' and '.join(map(str, sorted(sizes)))} devices",
            where=dump.name,
            fix="groups of one size can be described",
        )
    domain = sizes.pop()
    pcie_bytes_per_s = min(device.pcie_bytes_per_s for device in dump.devices)
    fastest = max(dump.nics.values(), default=0.0)
    n_nics = sum(speed == fastest for speed in dump.nics.values())
    return Layout(
        nodes=n_hosts if n_hosts > 1 else None,
        devices_per_node=n_devices // n_hosts,
        scale_up_domain_devices=domain if domain < n_devices and links else None,
        scale_up=_pcie_link(pcie_bytes_per_s) if not links and pcie_bytes_per_s else None,
        has_direct_links=bool(links),
        nics_per_node=n_nics // n_hosts if dump.nics else None,
        nic_bandwidth_bytes_per_s=fastest or None,
    )


def _pcie_link(bytes_per_s: float) -> LinkSpec:
    """Return PCIe as the link between devices, with what the catalog's PCIe cards have beside."""
    return LinkSpec(bandwidth_bytes_per_s=bytes_per_s, latency_s=6e-6, efficiency=0.65)


def _pcie(slot: dict[str, str], name: str) -> float:
    """Return bytes/s in one direction of a slot; 0 where it does not say."""
    match = re.match(r"(\d{1,4}(?:\.\d{1,3})?) ?GT/s", slot.get("link_speed", ""))
    if match is None:
        return 0.0
    return float(match[1]) * 1e9 / 8 * _number(slot.get("link_width", "0"), name) * _PCIE_SHARE


def _number(text: str, name: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{text!r:.40} is not a whole number", where=name)
    return int(text)
