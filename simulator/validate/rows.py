"""Published or own measurements, one row a run, as typed values."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

from simulator.spec.errors import InputError
from simulator.spec.files import read_text

MAX_ROWS = 100_000
LIMIT_BYTES = 64 * 1024 * 1024
MAX_NUMBER = 1e15
REQUIRED_COLUMNS = ("model", "n_devices", "device")
BLANK = frozenset({"", "-", "?", "n/a", "na", "nan", "null", "unknown", "not stated"})
"""What an empty cell looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of the table; None where the source does not say."""

    id: str = ""
    source: str = ""
    source_group: str = ""
    model: str = ""
    family: str = ""
    task: str = ""
    quality: str = ""
    device: str = ""
    interconnect: str = ""
    zero_stage_or_fsdp: str = ""
    recompute: str = ""
    precision: str = ""
    attention_impl: str = ""
    notes: str = ""
    outcome: str = ""
    problem: str = ""
    """What in the line cannot be read; such a row is skipped."""
    gated_ffn: bool | None = None
    sequence_parallel: bool | None = None
    tied_embeddings: bool | None = None
    qk_norm: bool | None = None
    oom: bool | None = None
    n_layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    ffn_hidden: int | None = None
    vocab: int | None = None
    n_experts: int | None = None
    top_k: int | None = None
    moe_ffn_hidden: int | None = None
    n_shared_experts: int | None = None
    first_dense_layers: int | None = None
    seq_len: int | None = None
    global_batch_seqs: int | None = None
    micro_batch: int | None = None
    n_devices: int | None = None
    devices_per_node: int | None = None
    tp: int | None = None
    pp: int | None = None
    vpp: int | None = None
    dp: int | None = None
    cp: int | None = None
    ep: int | None = None
    measured_step_s: float | None = None
    measured_tokens_per_s_per_device: float | None = None
    measured_mem_gb: float | None = None

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the run is reported not to fit."""
        return bool(self.oom) or self.outcome.lower().startswith("oom")

    @property
    def step_s(self) -> float | None:
        """Measured step time, from the rate where only that is given."""
        if self.measured_step_s is not None:
            return self.measured_step_s
        sizes = (self.global_batch_seqs, self.seq_len, self.n_devices)
        rate = self.measured_tokens_per_s_per_device
        if rate is None or None in sizes:
            return None
        tokens = (self.global_batch_seqs or 0) * (self.seq_len or 0)
        return tokens / (rate * (self.n_devices or 1))

    @classmethod
    def parse(cls, cells: Mapping[str, str]) -> Self:
        """Read one line; unknown columns are ignored, blank cells become None."""
        values: dict[str, object] = {}
        for field in fields(cls):
            text = (cells.get(field.name) or "").strip()
            if text.lower() in BLANK or field.name == "problem":
                continue
            try:
                values[field.name] = _PARSERS[str(field.type)](text)
            except ValueError:
                values.setdefault("problem", f"{field.name}={text!r:.40} cannot be read")
        return cls(**values)  # type: ignore[arg-type]


def read_rows(path: Path) -> list[RunRow]:
    """Read a CSV file of runs. Raises InputError with the line of what cannot be read."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, limit_bytes=LIMIT_BYTES), newline=""))
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_columns(reader.fieldnames, path)
        return _parse_lines(reader, path)
    except csv.Error as error:
        raise InputError(f"not a CSV file: {error}", where=str(path)) from error


def _check_columns(columns: Iterable[str], path: Path) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"no column {', '.join(missing)}",
            where=str(path),
            fix="the first line must name the columns, as in published_runs.csv",
        )


def _parse_lines(reader: csv.DictReader[str], path: Path) -> list[RunRow]:
    rows: list[RunRow] = []
    for cells in reader:
        if len(rows) == MAX_ROWS:
            raise InputError(f"more than {MAX_ROWS} rows", where=f"{path}:{reader.line_num}")
        row = RunRow.parse(cells)
        rows.append(row if row.id else replace(row, id=f"line-{reader.line_num}"))
    return rows


def _integer(text: str) -> int:
    value = _number(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _number(text: str) -> float:
    value = float(text.replace(",", ""))
    if not math.isfinite(value) or not 0 <= value < MAX_NUMBER:
        raise ValueError(text)
    return value


def _truth(text: str) -> bool:
    word = text.lower()
    if word not in (*_YES, *_NO):
        raise ValueError(text)
    return word in _YES


_YES = ("yes", "y", "true", "on", "1", "1.0")
_NO = ("no", "n", "none", "false", "off", "0", "0.0")


_PARSERS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int | None": _integer,
    "float | None": _number,
    "bool | None": _truth,
}
