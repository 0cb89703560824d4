"""What `armillary list` prints: the kinds, the things of a kind, or one thing and its sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from armillary.listings import LISTINGS, Listing, as_data
from armillary.screens.table import text_table
from armillary.screens.wrapping import WIDTH, wrapped
from simulator.spec.units import format_bytes, format_flops, format_seconds


def kinds_screen() -> str:
    """Return the kinds and what they are for."""
    rows = [[kind, listing.what] for kind, listing in LISTINGS.items()]
    return "\n".join([*text_table(["kind", ""], rows), "", "next: armillary list devices"])


def things_screen(listing: Listing, things: dict[str, Any]) -> str:
    """Return one line per thing."""
    rows = [[name, *(cell(thing) for _, cell in listing.columns)] for name, thing in things.items()]
    table = text_table([listing.kind, *(title for title, _ in listing.columns)], rows)
    last = max(len(row) - len(cells[-1]) for row, cells in zip(table[1:], rows, strict=True))
    lines = [part for line in table for part in _folded(line, last)]
    lines += ["", listing.note] if listing.note else []
    if things:
        lines += [
            "",
            f"each field and its source: armillary list {listing.kind} {next(iter(things))}",
        ]
    return "\n".join(lines)


def _folded(line: str, column: int) -> list[str]:
    """Return a line of a table, its last column folded under where it starts."""
    if len(line) <= WIDTH or column > WIDTH // 4 * 3:
        return [line]
    words = wrapped(line[column:], WIDTH - column)
    return [line[:column] + words[0], *(" " * column + more for more in words[1:])]


def thing_screen(name: str, thing: Any) -> str:
    """Return every field of one thing, then where its numbers come from."""
    data = as_data(thing)
    sources = data.pop("sources", ())
    lines = [name, *(f"  {field:<44}{value}" for field, value in _flat(data))]
    if sources:
        lines += ["", "sources"]
    grouped: dict[tuple[str, str], list[str]] = {}
    for source in sources:
        grouped.setdefault((source["basis"], source["source"]), []).append(source["field"])
    for (basis, text), fields in grouped.items():
        lines += wrapped(
            f"{', '.join(fields)}: {basis}, {text}",
            first="  ",
            rest="    ",
        )
    return "\n".join(lines)


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return (dotted field, text) of every field that says something."""
    flat: list[tuple[str, str]] = []
    for field, value in data.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{field}.")
        elif isinstance(value, list | tuple):
            flat += [(prefix + field, ", ".join(map(str, value)))] if value else []
        elif value not in (None, ""):
            flat.append((prefix + field, _cell(field, value)))
    return flat


_UNITS: dict[str, Callable[[float], str]] = {
    "_flops_per_s": format_flops,
    "_bytes_per_s": lambda value: f"{value / 1e9:.4g} GB/s",
    "_bytes": format_bytes,
    "_s": format_seconds,
    "_w": lambda value: f"{value:g} W",
}
"""How a number is shown, by the unit that ends the name of its field; the longest ending first."""


def _cell(field: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    ending = next((ending for ending in _UNITS if field.endswith(ending)), None)
    return _UNITS[ending](value) if ending else f"{value:g}"
