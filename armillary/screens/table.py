"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first column and words stand left, numbers right."""
    if not rows:
        return ["  ".join(header)]
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [at > 0 and _are_numbers(column[1:]) for at, column in enumerate(columns)]
    return [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (header, *rows)
    ]


def _are_numbers(cells: Sequence[str]) -> bool:
    """Return whether some cells are numbers and the others empty."""
    return any(cells) and all(cell in ("", "-") or _is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    return cell.lstrip("$")[:1].isdigit()
