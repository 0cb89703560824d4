"""Makes the tokens of a run, before any rank reads them.

Every file is a shard. Tokens that are there already (token bins, plain text read as bytes) are read
in place; the others are written beside the run, a file for a file, in pieces, so that no corpus is
ever held in memory. What cannot be read is reported with its reason; the run fails, or goes on
without it (`run.bad_shards`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from runtime.data.manifest import Dtype, Manifest, Shard, SkippedShard, read_manifest
from runtime.data.sources import (
    MANIFEST_SUFFIX,
    TOKENS_SUFFIX,
    BadShard,
    documents,
    files_of,
    is_text,
    library_files,
)
from runtime.data.tokenizer import Bytes, Tokenizer, Trained, read_tokenizer, train_tokenizer
from runtime.run_dir import RunDir
from simulator.spec.data import DataSpec
from simulator.spec.errors import InputError
from simulator.spec.scenario import Scenario

_SHOWN = 3
_FEW_TOKENS = 2**16


def prepare_data(scenario: Scenario, run_dir: RunDir) -> Manifest | None:
    """Make the tokens of a run and its manifest, once; None where it needs none (random).

    Where there is a manifest already, its files must be what they were, or they are skipped and
    keep their place. Raises InputError for what the run cannot do without.
    """
    run = scenario.run
    if run.data_built_in == "random":
        return None
    if run_dir.data.exists():
        manifest = _still_good(read_manifest(run_dir.data))
    else:
        manifest = _made(run, scenario.model.vocab_size, run_dir.tokens)
    _require_good(manifest, run)
    if manifest.vocab_size > scenario.model.vocab_size:
        raise InputError(
            f"the data have a vocabulary of {manifest.vocab_size} tokens, and model.vocab_size is "
            f"{scenario.model.vocab_size}",
            where="run.data",
            fix=f"use vocab_size: {manifest.vocab_size} or data: random",
        )
    manifest.write(run_dir.data)
    return manifest


def _require_good(manifest: Manifest, run: DataSpec) -> None:
    """Raise InputError for files that must not be skipped, and where nothing is left."""
    bad = manifest.skipped
    bad_paths = {each.path for each in bad}
    nothing_left = all(shard.path in bad_paths for shard in manifest.shards)
    if bad and (run.bad_shards == "fail" or nothing_left):
        shown = "; ".join(f"{each.path}: {each.reason}" for each in bad[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise InputError(
            f"{len(bad)} files cannot be read: {shown}{more}",
            where="run.data",
            fix="mend them, leave them out, or go on without them (run.bad_shards: skip)",
        )


def _still_good(manifest: Manifest) -> Manifest:
    """Return the manifest with what has happened to its files since."""
    known = {each.path for each in manifest.skipped}
    skipped = [
        SkippedShard(path=shard.path, reason=reason, n_tokens=shard.n_tokens)
        for shard in manifest.shards
        if shard.path not in known and (reason := shard.damage(manifest.token_bytes)) is not None
    ]
    return manifest.model_copy(update={"skipped": (*manifest.skipped, *skipped)})


def _made(run: DataSpec, vocab_size: int, folder: Path) -> Manifest:
    files = library_files() if run.data_built_in else files_of(run.data_places)
    if len(files) == 1 and files[0].suffix == MANIFEST_SUFFIX:
        return _still_good(read_manifest(files[0]))
    n_bins = sum(file.suffix == TOKENS_SUFFIX for file in files)
    if 0 < n_bins < len(files):
        raise InputError("token bins and texts together", where="run.data", fix="use one of them")
    maker = _Bins(vocab_size) if n_bins else _Texts.of(run, vocab_size, files, folder)
    shards: list[Shard] = []
    skipped: list[SkippedShard] = []
    for number, file in enumerate(files):
        try:
            shards.append(maker.shard(file, number))
        except BadShard as error:
            skipped.append(SkippedShard(path=str(file), reason=str(error)))
        except OSError as error:
            skipped.append(SkippedShard(path=str(file), reason=error.strerror or str(error)))
    return Manifest(
        data=run.data_places,
        tokenizer="none" if n_bins else run.tokenizer,
        text_field=run.text_field,
        dtype=maker.dtype,
        vocab_size=maker.vocab_size,
        shards=tuple(shards),
        skipped=tuple(skipped),
    )


def _dtype(vocab_size: int) -> Dtype:
    if vocab_size <= 2**8:
        return "uint8"
    return "uint16" if vocab_size <= 2**16 else "uint32"


class _Bins:
    """Files of 16-bit tokens without a header (32-bit where a vocabulary needs them)."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.dtype: Dtype = "uint16" if vocab_size <= 2**16 else "uint32"

    def shard(self, file: Path, _number: int) -> Shard:
        token_bytes = np.dtype(self.dtype).itemsize
        if file.stat().st_size % token_bytes:
            raise BadShard(f"{file.stat().st_size} bytes are no whole number of {self.dtype}")
        with file.open("rb") as opened:
            while chunk := opened.read(token_bytes * _FEW_TOKENS):
                largest = int(np.frombuffer(chunk, self.dtype).max())
                if largest >= self.vocab_size:
                    raise BadShard(f"token {largest} of a vocabulary of {self.vocab_size}")
        return Shard.of(file, file, token_bytes)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Files of text, whose tokens are written into a folder."""

    tokenizer: Tokenizer
    text_field: str
    folder: Path

    @classmethod
    def of(cls, run: DataSpec, vocab_size: int, files: list[Path], folder: Path) -> _Texts:
        tokenizer: Tokenizer
        if run.tokenizer == "bytes":
            tokenizer = Bytes()
        elif run.tokenizer == "bpe":
            tokenizer = _trained(run, vocab_size, files, folder)
        else:
            tokenizer = read_tokenizer(Path(run.tokenizer))
        return cls(tokenizer, run.text_field, folder)

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def dtype(self) -> Dtype:
        return _dtype(self.vocab_size)

    def shard(self, file: Path, number: int) -> Shard:
        token_bytes = np.dtype(self.dtype).itemsize
        if isinstance(self.tokenizer, Bytes) and is_text(file):
            return Shard.of(file, file, token_bytes)
        self.folder.mkdir(parents=True, exist_ok=True)
        made = self.folder / f"{number:06}{TOKENS_SUFFIX}"
        unfinished = made.with_suffix(".part")
        try:
            with unfinished.open("wb") as out:
                for tokens in self._tokens(file):
                    out.write(np.array(tokens, dtype=self.dtype).tobytes())
            unfinished.replace(made)
        finally:
            unfinished.unlink(missing_ok=True)
        return Shard.of(made, file, token_bytes)

    def _tokens(self, file: Path) -> Iterator[list[int]]:
        """Yield the tokens of a file; its end of documents among them."""
        whole = is_text(file)
        end = list(self.tokenizer.end)
        for tokens in self.tokenizer.encoded(documents(file, self.text_field)):
            yield [*tokens] if whole else [*tokens, *end]
        if whole:
            yield end


def _trained(run: DataSpec, vocab_size: int, files: list[Path], folder: Path) -> Trained:
    """Return a tokenizer that was trained on the files, as far as they can be read."""

    def texts(file: Path) -> Iterator[str]:
        with contextlib.suppress(BadShard, OSError):  # told when its tokens are made
            yield from documents(file, run.text_field)

    tokenizer = train_tokenizer(chain.from_iterable(map(texts, files)), vocab_size)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    return tokenizer
