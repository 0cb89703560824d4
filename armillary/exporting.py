"""Puts an export on disk."""

from __future__ import annotations

from pathlib import Path

from planner.export import Export
from simulator.spec.files import write_atomic


def write_export(export: Export, folder: Path) -> list[Path]:
    """Write the files, each whole or not at all, and return their paths."""
    written = []
    for file in export.files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.text)
        if file.executable:
            path.chmod(0o755)
        written.append(path)
    return written
