"""Files are read with limits and written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from simulator.spec.errors import InputError
from simulator.spec.files import read_text, write_atomic


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_atomic(file, "one")
    write_atomic(file, "größer")
    assert read_text(file, limit_bytes=100) == "größer"
    write_atomic(file, b"\x00")
    assert file.read_bytes() == b"\x00"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    write_atomic(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_writing_over_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "x")
    with pytest.raises(OSError, match=r"nowhere/a\.txt"):
        write_atomic(tmp_path / "nowhere" / "a.txt", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * 2049, "larger than 2 KiB"),
        (b"ab\xff", "not UTF-8 text (byte 2); save it as UTF-8"),
    ],
)
def test_what_cannot_be_text_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_text(file, limit_bytes=2048)
    assert f"{file}: {message}" in str(caught.value)


@pytest.mark.parametrize("path", ["/", "/nowhere/at/all", "a\0b"])
def test_what_cannot_be_opened_is_refused(path: Any) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_text(path, limit_bytes=10)
