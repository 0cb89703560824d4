"""Recorded outages from a file with the columns node, start, end and, if known, class.

Times are seconds from the start of the campaign, or carry a unit ("3d").
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from simulator.catalog.rows import Row, read_rows
from simulator.spec.errors import InputError
from simulator.spec.reliability import Outage

COLUMNS = {"node": "node", "start": "start_s", "end": "end_s", "class": "cause"}
"""Names in files and the fields that they fill."""


def read_outages(path: Path) -> tuple[Outage, ...]:
    """Return the outages of a file in the order of time. Raises InputError with the line."""
    rows = read_rows(path, needed=("node", "start", "end"))
    found = [(row[0], _outage(row)) for row in rows]
    found.sort(key=lambda item: (item[1].start_s, item[1].node))
    _require_apart(found)
    return tuple(outage for _, outage in found)


def _outage(row: Row) -> Outage:
    where, given = row
    values = {field: given[name] for name, field in COLUMNS.items() if name in given}
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
