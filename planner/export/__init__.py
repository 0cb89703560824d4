"""Plans in the words of other frameworks, one file per target."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import accelerate, deepspeed, kubernetes, megatron, torchrun, torchtitan
from planner.export.exporter import Export, ExportedFile, Exporter
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan_file import PlanFile

EXPORTERS: dict[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        torchtitan.EXPORTER,
        megatron.EXPORTER,
        deepspeed.EXPORTER,
        accelerate.EXPORTER,
        *torchrun.EXPORTERS,
        *kubernetes.EXPORTERS,
    )
}
"""Adding one: a module with an EXPORTER, and a line here."""


def find_exporter(name: str, *, where: str | None = None) -> Exporter:
    """Return the exporter of a target. Raises InputError with near names."""
    if name not in EXPORTERS:
        raise unknown_name("export target", name, EXPORTERS, where=where)
    return EXPORTERS[name]


def takers(plan_file: PlanFile) -> Iterator[Exporter]:
    """Yield the exporters that take exactly this plan, those of the scenario's target first."""
    target = plan_file.scenario.target
    for exporter in sorted(EXPORTERS.values(), key=lambda each: each.executor != target):
        try:
            exporter.export(plan_file)
        except InputError:
            continue
        yield exporter


__all__ = ["EXPORTERS", "Export", "ExportedFile", "Exporter", "find_exporter", "takers"]
