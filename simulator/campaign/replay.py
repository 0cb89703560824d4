"""Recorded outages from a file: CSV with the columns node, start, end and class, or a JSON list.

Times are seconds from the start of the campaign, or carry a unit ("3d"). Such files come from
elsewhere: they are limited in size and parsed as data.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.spec.errors import InputError
from simulator.spec.files import read_text
from simulator.spec.reliability import Outage

MAX_BYTES = 64 * 2**20
MAX_OUTAGES = 1_000_000

COLUMNS = {"node": "node", "start": "start_s", "end": "end_s", "class": "cause"}
"""Names in files and the fields that they fill; `class` may be missing."""


def read_outages(path: Path) -> tuple[Outage, ...]:
    """Return the outages of a file in the order of time. Raises InputError with the line."""
    text = read_text(path, limit_bytes=MAX_BYTES)
    rows = _json_rows(text, path) if path.suffix == ".json" else _csv_rows(text, path)
    found: list[tuple[str, Outage]] = []
    for where, row in rows:
        if len(found) == MAX_OUTAGES:
            raise InputError(f"more than {MAX_OUTAGES:,} outages", where=where)
        found.append((where, _outage(row, where)))
    found.sort(key=lambda item: (item[1].start_s, item[1].node))
    _require_apart(found)
    return tuple(outage for _, outage in found)


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in ("node", "start", "end") if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing",
            where=f"{path}:1",
            fix="the first line must name the columns node,start,end,class",
        )
    for row in reader:
        yield f"{path}:{reader.line_num}", dict(row)


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"this is not JSON: {error}", where=str(path)) from error
    if not isinstance(rows, list):
        raise InputError(
            "a list of outages is expected", where=str(path), fix='[{"node": 3, "start": 0, ...}]'
        )
    for number, row in enumerate(rows, start=1):
        where = f"{path}: outage {number}"
        if not isinstance(row, dict):
            raise InputError(f"{row!r:.60} is not an outage", where=where)
        yield where, row


def _outage(row: dict[str, Any], where: str) -> Outage:
    values = {
        field: row[name] for name, field in COLUMNS.items() if row.get(name) not in (None, "")
    }
    try:
        return Outage.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = next((n for n, f in COLUMNS.items() if f in first["loc"]), "")
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{field}: {message}" if field else message, where=where) from error


def _require_apart(found: list[tuple[str, Outage]]) -> None:
    back_s: dict[int, float] = {}
    for where, outage in found:
        if outage.start_s < back_s.get(outage.node, 0.0):
            raise InputError(
                f"outages of node {outage.node} overlap: it fails again at {outage.start_s:g} s, "
                f"before it is back at {back_s[outage.node]:g} s",
                where=where,
            )
        back_s[outage.node] = outage.end_s
