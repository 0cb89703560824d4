"""The files that a run is told to read, and the documents in them."""

from __future__ import annotations

import glob
import json
import os
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from simulator.spec.errors import InputError

LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
)
"""Folders of Python's own library that are no part of the built-in text."""

_PIECE_CHARS = 2**20

TOKENS_SUFFIX, MANIFEST_SUFFIX = ".bin", ".json"


class BadShard(Exception):
    """A file whose documents cannot be read; the text says why."""


def library_files() -> list[Path]:
    """Return the source files of Python's own library: text that needs no download."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if folder not in LEFT_OUT]
        found += [Path(place, file) for file in files if file.endswith(".py")]
    return sorted(found)


def files_of(places: tuple[str, ...]) -> list[Path]:
    """Return the files that paths, folders and patterns name, sorted within each.

    A path that is not there is among them. Raises InputError where a folder or pattern is empty.
    """
    found: list[Path] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix in _KNOWN)
        elif glob.has_magic(place) and not path.exists():
            inside = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        else:
            inside = [path]
        if not inside:
            raise InputError(
                f"there are no files in {place}",
                where="run.data",
                fix="name files, or folders of " + ", ".join(sorted(_KNOWN)),
            )
        found += inside
    return found


def documents(path: Path, text_field: str) -> Iterator[str]:
    """Yield the documents of a file. Raises BadShard where they cannot be read, and OSError."""
    reader = _READERS.get(path.suffix)
    yield from _text(path) if reader is None else reader(path, text_field)


def is_text(path: Path) -> bool:
    """Return whether a file is one plain text."""
    return path.suffix not in _READERS


def _text(path: Path) -> Iterator[str]:
    """Yield the text in pieces that end with a line, so that a large file is never held whole."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            while lines := file.readlines(_PIECE_CHARS):
                yield "".join(lines)
    except UnicodeDecodeError as error:
        raise BadShard(f"not UTF-8 text (byte {error.start} of a piece)") from None


def _json_lines(path: Path, text_field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                text = json.loads(line)[text_field]
            except (ValueError, RecursionError):
                raise BadShard(f"line {number} is not JSON") from None
            except (KeyError, TypeError, IndexError):
                raise BadShard(f"line {number} has no {text_field!r}") from None
            if not isinstance(text, str):
                raise BadShard(f"line {number}: {text_field!r} is no text")
            yield text


def _parquet(path: Path, text_field: str) -> Iterator[str]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "Parquet files need pyarrow, and it is not installed",
            where=str(path),
            fix="pip install 'armillary[parquet]'",
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            if text_field not in file.schema_arrow.names:
                raise BadShard(f"no column {text_field!r}; it has {file.schema_arrow.names}")
            for batch in file.iter_batches(columns=[text_field]):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str):
                        raise BadShard(f"column {text_field!r} holds {type(text).__name__}")
                    yield text
    except pa.ArrowException as error:
        raise BadShard(str(error).splitlines()[0]) from None


_READERS: dict[str, Callable[[Path, str], Iterator[str]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
}
_KNOWN = {".txt", ".md", ".py", TOKENS_SUFFIX, *_READERS}
"""What is read of a folder; a file that is named is plain text if it is nothing else."""
