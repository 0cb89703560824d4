"""What a training reads: files of text or tokens, and how text becomes tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import Spec

BUILT_IN = ("text", "random")
"""Data that need no file."""


class DataSpec(Spec):
    """The data of `armillary run`; every sequence of every step follows from them and the seed."""

    data: str | tuple[str, ...] = Field(default="text", min_length=1)
    """`text` (Python's own source files, no download), `random` (seeded tokens), or files, folders
    and patterns: text, JSONL, Parquet, token bins, or a run's data.json for the same tokens."""
    tokenizer: str = Field(default="bytes", min_length=1)
    """`bytes`, `bpe` (trained on the data, with as many entries as the model has), or the
    tokenizer.json of a trained one."""
    text_field: str = Field(default="text", min_length=1)
    """Where JSONL and Parquet rows have their text."""
    bad_shards: Literal["fail", "skip"] = "fail"
    """What becomes of files that are missing or damaged; those skipped are counted and reported."""

    @property
    def data_places(self) -> tuple[str, ...]:
        """The data as a list."""
        return (self.data,) if isinstance(self.data, str) else self.data

    @property
    def data_built_in(self) -> str | None:
        """Which of `BUILT_IN` it is; None for files."""
        return self.data if isinstance(self.data, str) and self.data in BUILT_IN else None
