"""Rows of a table that somebody recorded: CSV with a header, or a JSON list of objects.

Such files come from elsewhere: they are limited in size and parsed as data.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.spec.errors import InputError
from simulator.spec.files import read_text

MAX_BYTES = 64 * 2**20
MAX_ROWS = 1_000_000

Row = tuple[str, dict[str, Any]]
"""Where a row stands, and its values by column; empty cells are left out."""


def read_rows(path: Path, *, needed: tuple[str, ...]) -> list[Row]:
    """Return the rows of a file, which must have the needed columns. Raises InputError."""
    text = read_text(path, limit_bytes=MAX_BYTES)
    rows = _json_rows(text, path) if path.suffix == ".json" else _csv_rows(text, path, needed)
    found: list[Row] = []
    for where, row in rows:
        if len(found) == MAX_ROWS:
            raise InputError(f"more than {MAX_ROWS:,} rows", where=where)
        given = {name: value for name, value in row.items() if value not in (None, "")}
        for name in needed:
            if name not in given:
                raise InputError(f"{name} is missing", where=where)
        found.append((where, given))
    return found


def _csv_rows(text: str, path: Path, needed: tuple[str, ...]) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing",
            where=f"{path}:1",
            fix=f"the first line must name the columns {','.join(needed)}",
        )
    for row in reader:
        yield f"{path}:{reader.line_num}", dict(row)


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"this is not JSON: {error}", where=str(path)) from error
    if not isinstance(rows, list):
        raise InputError("a list of objects is expected", where=str(path), fix='[{"...": 1}, ...]')
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        if not isinstance(row, dict):
            raise InputError(f"{row!r:.60} is not an object", where=where)
        yield where, row
