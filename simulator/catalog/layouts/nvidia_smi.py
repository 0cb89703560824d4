"""The matrix of `nvidia-smi topo -m`: how devices and network interfaces of a node are joined.

References: the legend below the matrix: NV# is a bond of # NVLinks; PIX and PXB cross PCIe bridges
only, PHB, NODE and SYS a host bridge or more.
"""

from __future__ import annotations

import itertools
import re

from simulator.catalog.layouts.layout import Layout, joined
from simulator.spec.errors import InputError

LIMIT_COLUMNS = 2048
_CELL = re.compile(r"X|NV\d+|PIX|PXB|PHB|NODE|SYS|SOC")
_NEAR = ("PIX", "PXB")


def read_topo_matrix(text: str, name: str) -> Layout:
    """Return the layout of one node. Raises InputError where there is no such matrix."""
    lines = [line.split() for line in text.splitlines()]
    start = next((at for at, words in enumerate(lines) if words and words[0] == "GPU0"), None)
    if start is None or len(lines[start]) > LIMIT_COLUMNS:
        raise InputError(
            "no matrix of devices (GPU0 ...)", where=name, fix="give what nvidia-smi topo -m prints"
        )
    heads = list(itertools.takewhile(lambda word: word != "CPU", lines[start]))
    rows = {
        words[0]: dict(zip(heads, words[1:], strict=False))
        for words in lines[start + 1 :]
        if words and words[0] in heads
    }
    devices = [head for head in heads if head.startswith("GPU")]
    for device in devices:
        _check_row(device, rows, heads, name)
    pairs = [
        (at, devices.index(other))
        for at, device in enumerate(devices)
        for other in devices
        if rows[device][other].startswith("NV")
    ]
    sizes = joined(len(devices), pairs)
    if len(sizes) > 1:
        raise InputError(
            f"NVLink joins groups of {' and '.join(map(str, sorted(sizes)))} devices",
            where=name,
            fix="groups of one size can be described",
        )
    domain = sizes.pop()
    nics = [head for head in heads if head not in devices]
    near = [nic for nic in nics if any(rows[device][nic] in _NEAR for device in devices)]
    return Layout(
        devices_per_node=len(devices),
        scale_up_domain_devices=domain if 1 < domain < len(devices) else None,
        has_direct_links=bool(pairs) if len(devices) > 1 else None,
        nics_per_node=len(near or nics) or None,
    )


def _check_row(device: str, rows: dict[str, dict[str, str]], heads: list[str], name: str) -> None:
    row = rows.get(device, {})
    for head in heads:
        if not _CELL.fullmatch(row.get(head, "")):
            raise InputError(
                f"{device} to {head}: {row.get(head, 'nothing')!r:.40} is no kind of link",
                where=name,
                fix="give the whole matrix",
            )
