"""Puts an export on disk."""

from __future__ import annotations

from pathlib import Path

from armillary.output_folder import DEFAULT_FOLDER
from planner.export import Export
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic


def folder_beside(place: str, target: str) -> Path:
    """Return where an export goes by itself: beside the plan file, or with the last answer."""
    path = Path(place)
    return (path.parent if path.suffix == ".json" else DEFAULT_FOLDER) / f"export-{target}"


def write_export(export: Export, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the files, each whole or not at all, and return their paths.

    Raises InputError before anything is written when a file is there that holds something else.
    """
    if not force:
        for file in export.files:
            _require_same(folder / file.name, file.text)
    written = []
    for file in export.files:
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, file.text)
        if file.executable:
            path.chmod(0o755)
        written.append(path)
    return written


def _require_same(path: Path, text: str) -> None:
    try:
        is_same = path.read_bytes() == text.encode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not is_same:
        raise InputError(
            "there is a file here that holds something else",
            where=str(path),
            fix="write over it with --force, or give another folder with --out",
        )
