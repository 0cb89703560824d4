"""Layouts of clusters from files of other tools, one module per kind of file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulator.catalog.layouts.graph import read_fabric_graph
from simulator.catalog.layouts.layout import Layout
from simulator.catalog.layouts.nccl import read_nccl_dump
from simulator.catalog.layouts.nvidia_smi import read_topo_matrix
from simulator.catalog.layouts.slurm import read_topology_conf
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.files import read_text

LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LayoutKind:
    """One kind of file."""

    name: str
    what: str
    read: Callable[[str, str], Layout]
    """Takes the text and the name of the file."""


LAYOUTS: dict[str, LayoutKind] = {
    kind.name: kind
    for kind in (
        LayoutKind("slurm", "Slurm's topology.conf", read_topology_conf),
        LayoutKind("graph", "a fabric's links: YAML, GraphML, node-link JSON", read_fabric_graph),
        LayoutKind("nccl", "NCCL's dump of a node (NCCL_TOPO_DUMP_FILE)", read_nccl_dump),
        LayoutKind("nvidia-smi", "what `nvidia-smi topo -m` prints", read_topo_matrix),
    )
}
"""Adding one: a module that reads it, and a line here."""


def split_layout(text: str, *, where: str | None = None) -> tuple[str, str]:
    """Return kind and path of `slurm:topology.conf`. Raises InputError for another form."""
    kind, separator, path = text.partition(":")
    if not separator or not path:
        raise InputError(
            f"layout {text!r:.60} is not KIND:FILE",
            where=where,
            fix=f"KIND is one of {', '.join(LAYOUTS)}",
        )
    if kind not in LAYOUTS:
        raise unknown_name("layout", kind, LAYOUTS, where=where)
    return kind, path


def read_layout(text: str, *, where: str | None = None) -> Layout:
    """Return the layout behind `slurm:topology.conf`. Raises InputError."""
    kind, path = split_layout(text, where=where)
    return LAYOUTS[kind].read(read_text(path, limit_bytes=LIMIT_BYTES, drop_colours=True), path)


__all__ = ["LAYOUTS", "Layout", "LayoutKind", "read_layout", "split_layout"]
