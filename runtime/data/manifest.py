"""What a run reads, file by file: written once as data.json, and the same for every rank."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from simulator.spec.base import Spec
from simulator.spec.errors import InputError
from simulator.spec.files import read_text, write_atomic

Dtype = Literal["uint8", "uint16", "uint32"]

_LIMIT_BYTES = 2**28
_CHUNK_BYTES = 2**22


class Shard(Spec):
    """A file of tokens, one after the other."""

    path: str
    source: str
    """The file that its tokens come from; itself where they are read in place."""
    n_tokens: int = Field(ge=0)
    sha256: str
    modified_ns: int
    """Of `path`, so that it is hashed again only where it may have changed."""

    @classmethod
    def of(cls, path: Path, source: Path, token_bytes: int) -> Self:
        """Return the shard that lies at a path. Raises OSError."""
        status = path.stat()
        return cls(
            path=str(path.absolute()),
            source=str(source.absolute()),
            n_tokens=status.st_size // token_bytes,
            sha256=sha256_of(path),
            modified_ns=status.st_mtime_ns,
        )

    def damage(self, token_bytes: int) -> str | None:
        """Return what has become of the file, or None where it is what it was."""
        path = Path(self.path)
        try:
            status = path.stat()
            if status.st_size != self.n_tokens * token_bytes:
                return f"{status.st_size} bytes, and it had {self.n_tokens * token_bytes}"
            if status.st_mtime_ns != self.modified_ns and sha256_of(path) != self.sha256:
                return f"its hash is no longer {self.sha256[:12]}..."
        except OSError as error:
            return error.strerror or str(error)
        return None


class SkippedShard(Spec):
    """A file that is not read."""

    path: str
    reason: str
    n_tokens: int = 0
    """Of its place among the others, which it keeps: 0 where it had none yet."""


class Manifest(Spec):
    """The tokens of a run."""

    data: tuple[str, ...]
    """What was asked for."""
    tokenizer: str
    text_field: str
    dtype: Dtype
    vocab_size: int
    """Of the tokenizer: all tokens are less."""
    shards: tuple[Shard, ...]
    """In the order in which their tokens are counted, whatever happened to them since."""
    skipped: tuple[SkippedShard, ...] = ()

    @property
    def token_bytes(self) -> int:
        """Bytes of one token."""
        return {"uint8": 1, "uint16": 2, "uint32": 4}[self.dtype]

    def write(self, path: Path) -> None:
        """Write the manifest."""
        write_atomic(path, self.model_dump_json(indent=1))


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a file. Raises InputError where it is none."""
    text = read_text(path, limit_bytes=_LIMIT_BYTES)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError:
        raise InputError("not a data.json of a run", where=str(path)) from None


def sha256_of(path: Path) -> str:
    """Return the hash of a file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
