"""Files of JSON lines, read while another process may still add to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from simulator.catalog.json_text import read_json
from simulator.spec.errors import InputError

LINE_LIMIT_BYTES = 2**20

Record = TypeVar("Record")


def append_line(path: Path, record: Mapping[str, object]) -> None:
    """Append one line; several processes may do so at once.

    One short write to a file opened for appending is not mixed with another.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(record) + "\n").encode())
    finally:
        os.close(descriptor)


class JsonLines(Generic[Record]):
    """The records of a file, each returned once."""

    def __init__(self, path: Path, parse: Callable[[dict[str, Any]], Record], *, kind: str) -> None:
        """`parse` raises KeyError, TypeError or ValueError for a line that is not a `kind`."""
        self._path = path
        self._parse = parse
        self._kind = kind
        self._offset = 0
        self._n_lines = 0

    def new(self) -> list[Record]:
        """Return the records since the last call, none where there is no file.

        A last line without its end is left for later: its writer has not finished, or died.
        Raises InputError with the line of a foreign record.
        """
        records = []
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                while (line := file.readline(LINE_LIMIT_BYTES)).endswith(b"\n"):
                    self._n_lines += 1
                    self._offset += len(line)
                    records.append(self._record(line))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=str(self._path)) from None
        if len(line) == LINE_LIMIT_BYTES:
            raise self._foreign(self._n_lines + 1)
        return records

    def _record(self, line: bytes) -> Record:
        with suppress(InputError, KeyError, TypeError, ValueError):
            record = read_json(line.decode(), str(self._path))
            if isinstance(record, dict):
                return self._parse(record)
        raise self._foreign(self._n_lines)

    def _foreign(self, number: int) -> InputError:
        return InputError(
            f"not a line of {self._kind} of this version",
            where=f"{self._path}:{number}",
            fix="the file is damaged, or not of this program",
        )
