"""Text to tokens: bytes, a byte-pair encoding trained on the data, or one from a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from simulator.spec.errors import InputError

END_OF_TEXT = "<|endoftext|>"
_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "[SEP]")
"""What known tokenizers call the end of a document."""

TRAINING_CHARS = 10**8
"""Most text that a tokenizer is trained on: the first of it."""

_BATCH = 256


class Tokenizer(Protocol):
    """Text to tokens."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest token."""

    @property
    def end(self) -> tuple[int, ...]:
        """What follows every document."""

    def encoded(self, texts: Iterable[str]) -> Iterator[Sequence[int]]:
        """Yield the tokens of texts, one by one."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Every byte of UTF-8 is a token; 0, which text does not have, ends a document."""

    vocab_size: int = 256
    end: tuple[int, ...] = (0,)

    def encoded(self, texts: Iterable[str]) -> Iterator[Sequence[int]]:
        return (text.encode() for text in texts)


class Trained:
    """A tokenizer of the library `tokenizers`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1
        ends = [tokenizer.token_to_id(name) for name in _ENDS]
        self.end: tuple[int, ...] = tuple(end for end in ends if end is not None)[:1]

    def encoded(self, texts: Iterable[str]) -> Iterator[Sequence[int]]:
        remaining = iter(texts)
        while batch := list(islice(remaining, _BATCH)):
            for each in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield each.ids

    def save(self, path: Path) -> None:
        """Write the tokenizer as a tokenizer.json."""
        self._tokenizer.save(str(path))


def read_tokenizer(path: Path) -> Trained:
    """Return the tokenizer of a tokenizer.json. Raises InputError."""
    library = _library()
    if not path.is_file():
        raise InputError(f"there is no file {path}", where="run.tokenizer")
    try:
        return Trained(library.Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises nothing more exact
        raise InputError(
            f"{path} is not a tokenizer.json: {error}", where="run.tokenizer"
        ) from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Trained:
    """Return a byte-pair encoding of at most `vocab_size` entries, learnt from texts."""
    library = _library()
    smallest = 257
    if vocab_size < smallest:
        raise InputError(
            f"a byte-pair encoding has {smallest} entries or more, and model.vocab_size is "
            f"{vocab_size}",
            where="run.tokenizer",
        )
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = library.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_first(texts), trainer)
    return Trained(tokenizer)


def _first(texts: Iterable[str]) -> Iterator[str]:
    n_chars = 0
    for text in texts:
        yield text
        n_chars += len(text)
        if n_chars >= TRAINING_CHARS:
            return


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "this tokenizer needs the library tokenizers, and it is not installed",
            where="run.tokenizer",
            fix="pip install 'armillary[text]', or use tokenizer: bytes",
        ) from None
    return tokenizers
