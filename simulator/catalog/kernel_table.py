"""A table of measured kernels, read from CSV.

One line a kernel: its kind, number format, shape, and time, whose column says the unit. Cells that
a kind has no use for stay empty.

    kind,precision,m,n,k,sequences,heads,length,head_dim,causal,time_us
    gemm,bf16,8192,28672,8192,,,,,,5480
    attention,bf16,,,,1,64,8192,128,yes,1630
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from simulator.spec.base import Precision
from simulator.spec.cluster import DeviceSpec
from simulator.spec.errors import InputError, all_of, unknown_name
from simulator.spec.files import read_text
from simulator.spec.kernel_table import AttentionPoint, GemmPoint, KernelTable

LIMIT_BYTES = 1 << 20
LIMIT_ROWS = 5000
TIME_UNITS = {"time_s": 1.0, "time_ms": 1e3, "time_us": 1e6, "time_ns": 1e9}
"""Columns of which one holds the time, and their parts of a second."""
_GEMM = ("m", "n", "k")
_ATTENTION = ("sequences", "heads", "length", "head_dim")
SHAPES = {
    "gemm": _GEMM,
    "grouped-gemm": ("groups", *_GEMM),
    "attention": _ATTENTION,
    "attention-backward": _ATTENTION,
}
"""Columns that a kind of kernel needs."""
_OPTIONAL = ("value_dim", "causal")
"""Columns that attention may have: value_dim is head_dim and causal is yes where they are empty."""
MAX_SIZE = 10**9
PEAK_ALLOWANCE = 1.1
"""Clocks above the data sheet's."""
SLOWEST = 1000.0
"""Times longer by this factor than the slowest of peak, memory and launch are in another unit."""
LAUNCH_S = 1e-5


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table."""

    cells: Mapping[str, str]
    where: str

    def size(self, column: str, default: int | None = None) -> int:
        text = self.cells.get(column, "")
        if not text and default is not None:
            return default
        if not text:
            raise InputError(f"{column}: is missing for a {self.cells['kind']}", where=self.where)
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:11]) <= MAX_SIZE:
            raise InputError(
                f"{column}: {text!r:.40} is not a size", where=self.where, fix="a whole number >= 1"
            )
        return int(text)

    def flag(self, column: str) -> bool:
        text = self.cells.get(column, "") or "yes"
        if text not in ("yes", "no"):
            raise InputError(f"{column}: {text!r:.40}", where=self.where, fix="write yes or no")
        return text == "yes"

    def precision(self) -> Precision:
        text = self.cells.get("precision", "")
        if text not in [*Precision]:
            raise unknown_name("precision", text, [*Precision], where=self.where)
        return Precision(text)

    def seconds(self) -> float:
        (column,) = TIME_UNITS.keys() & self.cells.keys()
        text = self.cells[column]
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < 1e12:
            raise InputError(
                f"{column}: {text!r:.40} is not a time", where=self.where, fix="a number above 0"
            )
        return value / TIME_UNITS[column]


def read_kernel_table(path: str | Path, device: DeviceSpec) -> KernelTable:
    """Return the kernels of a CSV file that were measured on a device.

    Raises one InputError that lists every mistake as `file:line: column: what; what to do`.
    """
    gemms: list[GemmPoint] = []
    attentions: list[AttentionPoint] = []
    mistakes: list[InputError] = []
    for row in _rows(Path(path)):
        try:
            point = _point(row)
            _check_time(row, point, device)
        except InputError as error:
            mistakes.append(error)
            continue
        if isinstance(point, GemmPoint):
            gemms.append(point)
        else:
            attentions.append(point)
    if mistakes:
        raise all_of(mistakes[:20])
    if not gemms and not attentions:
        raise InputError("holds no kernel", where=str(path), fix="give at least one line")
    return KernelTable(name=Path(path).name, gemms=tuple(gemms), attentions=tuple(attentions))


def _rows(path: Path) -> Iterator[_Row]:
    reader = csv.reader(read_text(path, limit_bytes=LIMIT_BYTES).splitlines())
    header: list[str] | None = None
    for count, cells in enumerate(reader):
        where = f"{path}:{reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_header(header, where)
            continue
        if count > LIMIT_ROWS:
            raise InputError(f"more than {LIMIT_ROWS} kernels", where=where)
        if len(cells) != len(header):
            raise InputError(
                f"{len(cells)} cells under {len(header)} columns",
                where=where,
                fix="leave cells empty, but keep their commas",
            )
        yield _Row(dict(zip(header, (cell.strip() for cell in cells), strict=True)), where)


def _check_header(header: list[str], where: str) -> None:
    known = ["kind", "precision", *dict.fromkeys(sum(SHAPES.values(), ())), *_OPTIONAL, *TIME_UNITS]
    times = [column for column in header if column in TIME_UNITS]
    other = [column for column in header if column.startswith("time") and column not in times]
    if len(times) != 1 or other:
        shown = ", ".join(times + other) or "none"
        raise InputError(
            f"one column must hold the time with its unit in its name, not {shown}",
            where=where,
            fix="use one of " + ", ".join(TIME_UNITS),
        )
    for column in header:
        if column not in known:
            raise unknown_name("column", column, known, where=where)
    for column in ("kind", "precision"):
        if column not in header:
            raise InputError(f"column {column} is missing", where=where)
    if len(set(header)) < len(header):
        raise InputError("a column is there twice", where=where)


def _point(row: _Row) -> GemmPoint | AttentionPoint:
    kind = row.cells["kind"]
    if kind not in SHAPES:
        raise unknown_name("kernel kind", kind, SHAPES, where=row.where)
    sizes = {column: row.size(column) for column in SHAPES[kind]}
    allowed = {"kind", "precision", *SHAPES[kind], *TIME_UNITS}
    if SHAPES[kind] is _ATTENTION:
        allowed |= {*_OPTIONAL}
    for column, text in row.cells.items():
        if text and column not in allowed:
            raise InputError(f"{column}: a {kind} has none", where=row.where, fix="leave it empty")
    if SHAPES[kind] is not _ATTENTION:
        return GemmPoint(**sizes, precision=row.precision(), time_s=row.seconds())
    return AttentionPoint(
        **sizes,
        value_dim=row.size("value_dim", sizes["head_dim"]),
        causal=row.flag("causal"),
        precision=row.precision(),
        backward=kind == "attention-backward",
        time_s=row.seconds(),
    )


def _check_time(row: _Row, point: GemmPoint | AttentionPoint, device: DeviceSpec) -> None:
    """Refuse what the device cannot do, and what is slower by orders: the unit is wrong then."""
    peak = device.peak.of(point.precision)
    if peak <= 0:
        raise InputError(f"precision: {device.name} has no {point.precision}", where=row.where)
    reached = point.flops / point.time_s
    fix = "check the unit in the name of the column, and the shape"
    if reached > PEAK_ALLOWANCE * peak:
        raise InputError(
            f"{reached / 1e12:,.0f} TFLOPS is more than the {peak / 1e12:,.0f} of {device.name}",
            where=row.where,
            fix=fix,
        )
    memory_s = point.n_values / device.memory_bandwidth_bytes_per_s
    expected_s = max(point.flops / peak, memory_s, LAUNCH_S)
    if point.time_s > SLOWEST * expected_s:
        raise InputError(
            f"{point.time_s:.3g} s for what {device.name} can do in {expected_s:.3g} s",
            where=row.where,
            fix=fix,
        )
