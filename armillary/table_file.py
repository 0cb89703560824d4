"""Writes a table as the kind of file that its name asks for."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


def require_table_file(path: Path, *, where: str) -> None:
    """Raise InputError where a file is neither CSV nor Parquet, before anything is computed."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is neither .csv nor .parquet", where=where)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise InputError(
            "Parquet files need pyarrow, which is not installed",
            where=where,
            fix="write .csv, or pip install 'armillary[parquet]'",
        )


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table without its index, whole or not at all."""
    if path.suffix == ".parquet":
        content = io.BytesIO()
        frame.to_parquet(content, engine="pyarrow", index=False)
        write_atomic(path, content.getvalue())
    else:
        write_atomic(path, frame.to_csv(index=False))
