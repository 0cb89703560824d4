"""The keys of a Hugging Face `config.json`: found, assumed or misspelt, and checked."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.catalog.hf_defaults import DEFAULTS
from simulator.spec.errors import InputError, unknown_name

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_fast": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "quick_gelu": "gelu",
    "relu": "relu",
    "relu2": "relu2",
}

_KNOWN = frozenset(key for defaults in DEFAULTS.values() for key in defaults)
_NEAR = 0.9
"""Likeness (of difflib) from which a key that nobody knows is another one misspelt."""


@dataclass(frozen=True, slots=True)
class Config:
    """The keys of a configuration file, checked when they are asked for."""

    values: Mapping[str, Any]
    defaults: Mapping[str, Any]
    where: str
    assumed: dict[str, int] = field(default_factory=dict)
    """Sizes that were asked for, are not there and took their default."""

    def get(self, *keys: str) -> Any:
        """Return the first key that is there, or its default; None when there is neither.

        Raises InputError where none is there and one that nobody knows looks like it.
        """
        for key in keys:
            if key in self.values:
                return self.values[key]
        self._refuse_misspelt(keys)
        return next((self.defaults[key] for key in keys if key in self.defaults), None)

    def _refuse_misspelt(self, keys: tuple[str, ...]) -> None:
        unknown = [name for name in self.values if name not in _KNOWN]
        for key in keys:
            for name in difflib.get_close_matches(key, unknown, n=1, cutoff=_NEAR):
                raise InputError(
                    f"unknown key {name}", where=self.where, fix=f"did you mean {key}?"
                )

    def tell_assumed(self) -> None:
        """Say which sizes took their default."""
        if self.assumed:
            logging.getLogger(__name__).warning(
                "%s: not in it, taken as transformers does: %s",
                self.where, ", ".join(f"{key} {value}" for key, value in self.assumed.items()),
            )  # fmt: skip

    def size(self, *keys: str) -> int:
        """Return a positive whole number."""
        value = self.get(*keys)
        if value is None:
            raise InputError(f"{keys[0]}: is missing", where=self.where, fix="add it")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10**9:
            raise InputError(
                f"{keys[0]}: must be a whole number from 1 to 1e9, not {value!r:.40}",
                where=self.where,
            )
        if not any(key in self.values for key in keys):
            self.assumed[keys[0]] = value
        return value

    def size_or(self, fallback: int, *keys: str) -> int:
        """Return a positive whole number, or the fallback where the key is absent, null or 0."""
        return self.size(*keys) if self.get(*keys) else fallback

    def number(self, *keys: str) -> float:
        """Return a positive number."""
        value = self.get(*keys)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
            raise InputError(
                f"{keys[0]}: must be a positive number, not {value!r:.40}", where=self.where
            )
        return float(value)

    def section(self, *keys: str) -> Config:
        """Return a section, empty where it is absent; the defaults of this file hold in it too."""
        value = self.get(*keys)
        return replace(self, values=value if isinstance(value, dict) else {})

    def flag(self, key: str) -> bool:
        """Return whether the key is set and true."""
        return bool(self.get(key))

    def activation(self, key: str) -> str:
        """Return the activation function in our words."""
        name = str(self.get(key))
        if name not in _ACTIVATIONS:
            raise unknown_name("activation", name, _ACTIVATIONS, where=self.where)
        return _ACTIVATIONS[name]
