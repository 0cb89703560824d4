"""Real text that needs no download: the source files of Python's own standard library, as bytes.

The corpus differs between Python versions, so a run writes the manifest of what it read (files and
hash), and a resumed run must find the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

N_SYMBOLS = 256
"""Byte values: the vocabulary that the text needs."""

LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
)


@dataclass(frozen=True)
class Corpus:
    """The text of some files, one after the other."""

    files: tuple[str, ...]
    content: bytes

    @cached_property
    def sha256(self) -> str:
        """Hash of the whole text."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def tokens(self) -> npt.NDArray[np.uint8]:
        """The text as an array of byte values."""
        return np.frombuffer(self.content, dtype=np.uint8)

    def manifest(self) -> dict[str, object]:
        """Return what was read, for the run directory's data.json."""
        return {
            "source": "source files of the Python standard library, as bytes",
            "python": platform.python_version(),
            "n_bytes": len(self.content),
            "sha256": self.sha256,
            "files": list(self.files),
        }


def read_corpus(folder: Path | None = None) -> Corpus:
    """Return the text of every .py file of the standard library (or of `folder`), sorted."""
    root = Path(sysconfig.get_paths()["stdlib"]) if folder is None else folder
    files = sorted(path.relative_to(root).as_posix() for path in _sources(root))
    return Corpus(tuple(files), b"".join((root / file).read_bytes() for file in files))


def _sources(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if folder not in LEFT_OUT]
        yield from (Path(place, file) for file in files if file.endswith(".py"))
