"""Reading what strangers wrote and writing what nobody may find half-written."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from simulator.spec.errors import InputError

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What moves a terminal's cursor or changes its colours; tabs and line ends are not among it."""

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}m")


def control_character(text: str) -> str | None:
    """Return the first character of a text that must not reach a terminal, as U+001B, or None."""
    found = _CONTROL.search(text)
    return None if found is None else f"U+{ord(found.group()):04X}"


def read_text(path: str | Path, *, limit_bytes: int, drop_colours: bool = False) -> str:
    """Return a text file of at most `limit_bytes`, without control characters.

    `drop_colours` takes out the sequences with which tools colour what they print.
    Raises InputError that names the file.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be read: {reason}", where=str(path)) from None
    if len(raw) > limit_bytes:
        raise InputError(
            f"larger than {limit_bytes // 1024} KiB",
            where=str(path),
            fix="this is not such a file, or it holds far more than it may",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text (byte {error.start})", where=str(path), fix="save it as UTF-8"
        ) from None

    text = _COLOUR.sub("", text) if drop_colours else text
    character = control_character(text)
    if character is not None:
        raise InputError(
            f"holds the control character {character}", where=str(path), fix="this is not text"
        )
    return text


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Write a file whole or not at all: to a neighbour first, then renamed into place.

    Raises OSError that names `path`; the old content, if any, is then still there.
    """
    target = Path(path)
    neighbour = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with neighbour.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error
    finally:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)
