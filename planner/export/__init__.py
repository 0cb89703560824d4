"""Plans in the words of other frameworks, one file per target."""

from __future__ import annotations

from planner.export import deepspeed, kubernetes, megatron, torchrun, torchtitan
from planner.export.exporter import Export, ExportedFile, Exporter
from simulator.spec.errors import unknown_name

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        torchtitan.EXPORTER,
        megatron.EXPORTER,
        deepspeed.EXPORTER,
        *torchrun.EXPORTERS,
        kubernetes.EXPORTER,
    )
}
"""Adding one: a module with an EXPORTER, and a line here."""


def find_exporter(name: str, *, where: str | None = None) -> Exporter:
    """Return the exporter of a target. Raises InputError with near names."""
    if name not in EXPORTERS:
        raise unknown_name("export target", name, EXPORTERS, where=where)
    return EXPORTERS[name]


__all__ = ["EXPORTERS", "Export", "ExportedFile", "Exporter", "find_exporter"]
