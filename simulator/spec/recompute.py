"""Recompute: what a backward pass computes again instead of having kept it, as data.

A kind is written as words joined by `+`. A word is `none`, `full` (whole layers, all of them), one
that says which layers are repeated whole (`every-2`: every second layer of the model; `first-4`:
the first four of every chunk; `groups-of-4`: all layers, of which the input of every fourth is
kept), or a part of the layers that are not repeated whole (`PARTS`): `every-2+layernorm`.

References
----------
NVIDIA/Megatron-LM:megatron/core/transformer/transformer_config.py (recompute_modules, of which
`core-attn` is what it takes unless told; method block is `first-k`, uniform is `groups-of-k`);
pytorch/torchtitan up to 0.1: selective_ac_option "2" is `every-2`, "op" is `selective`;
deepspeedai/DeepSpeed: activation_checkpoint_interval of a PipelineModule is `groups-of-k`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from simulator.spec.job import Attention
from simulator.spec.model import ModelSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Code = int | npt.NDArray[np.int64]

Part = Literal[
    "selective", "core-attn", "layernorm", "mlp", "moe", "moe-act", "shared-experts", "mla-up-proj"
]
"""What can be repeated of a layer: all operations but matrix products and fused attention
(`selective`; of unfused attention only its core), or Megatron's modules by their names."""

WholeLayers = Literal["every", "first", "groups-of"]
"""Which layers are repeated whole."""

PARTS: tuple[Part, ...] = get_args(Part)
WHOLE_LAYERS: tuple[WholeLayers, ...] = get_args(WholeLayers)

_PART_BITS = 8
_WHOLE_BITS = 2
MAX_COUNT = 999


@dataclass(frozen=True, slots=True)
class Recompute:
    """A kind of recompute, taken apart."""

    parts: tuple[Part, ...] = ()
    """What is repeated of layers that are not repeated whole, in the order of `PARTS`."""
    whole: WholeLayers | None = None
    count: int = 0
    """The number in `every-2`, `first-2` or `groups-of-2`."""

    @property
    def name(self) -> str:
        """The way it is written."""
        words: list[str] = list(self.parts)
        if self.whole is not None:
            full = (self.whole, self.count) == ("every", 1)
            words.insert(0, "full" if full else f"{self.whole}-{self.count}")
        return "+".join(words) or "none"

    @property
    def code(self) -> int:
        """A whole number that stands for it in a column of plans; 0 for none."""
        parts = sum(1 << PARTS.index(part) for part in self.parts)
        if self.whole is None:
            return parts
        whole = (1 + WHOLE_LAYERS.index(self.whole)) << _PART_BITS
        return parts + whole + (self.count << (_PART_BITS + _WHOLE_BITS))

    @classmethod
    def of_code(cls, code: int) -> Recompute:
        """Return the kind that a code stands for."""
        whole = whole_of(code)
        return cls(
            parts=tuple(part for part in PARTS if repeats(code, part)),
            whole=WHOLE_LAYERS[whole - 1] if whole else None,
            count=int(count_of(code)),
        )

    def is_whole(self, layer: int, position: int) -> bool:
        """Return whether a layer is repeated whole, by its number and its place in the chunk."""
        if self.whole == "every":
            return (layer + 1) % self.count == 0
        return self.whole == "groups-of" or (self.whole == "first" and position < self.count)

    def n_whole(self, first_layer: int, n_layers: int) -> int:
        """Return how many layers of a chunk are repeated whole."""
        return sum(self.is_whole(first_layer + at, at) for at in range(n_layers))


SELECTIVE = Recompute(("selective",))
CORE_ATTENTION = Recompute(("core-attn",))


def repeats(code: Code, part: Part) -> Code:
    """Return 1 where a part is repeated in the layers that are not repeated whole, else 0."""
    return code >> PARTS.index(part) & 1


def whole_of(code: Code) -> Code:
    """Return 0, or 1 more than the place of the layers repeated whole in `WHOLE_LAYERS`."""
    return code >> _PART_BITS & ((1 << _WHOLE_BITS) - 1)


def count_of(code: Code) -> Code:
    """Return the number of a kind that repeats whole layers, else 0."""
    return code >> (_PART_BITS + _WHOLE_BITS)


def parse_recompute(text: str) -> Recompute:
    """Return a kind from the way it is written. Raises ValueError saying what can be written."""
    words = text.lower().replace("_", "-").split("+")
    parts: set[Part] = set()
    whole: list[tuple[WholeLayers, int]] = []
    for word in (word.strip() for word in words):
        counted = re.fullmatch(r"(every|first|groups-of)-(\d+)", word)
        if word in PARTS:
            parts.add(PARTS[PARTS.index(word)])
        elif word == "full":
            whole.append(("every", 1))
        elif counted:
            whole.append((_whole_named(counted[1]), int(counted[2])))
        elif word != "none" or len(words) > 1:
            raise ValueError(_cannot(text, f"{word!r} is none of these"))
    return _checked(text, parts, whole)


def _whole_named(name: str) -> WholeLayers:
    return WHOLE_LAYERS[[str(each) for each in WHOLE_LAYERS].index(name)]


def _checked(text: str, parts: set[Part], whole: list[tuple[WholeLayers, int]]) -> Recompute:
    if len(whole) > 1:
        raise ValueError(_cannot(text, "only one word says which layers are repeated whole"))
    form, count = whole[0] if whole else (None, 0)
    if form is not None and not 1 <= count <= MAX_COUNT:
        raise ValueError(_cannot(text, f"the number is from 1 to {MAX_COUNT}"))
    if form is not None and form != "first" and count == 1:
        form = "every"  # groups of one layer are full recompute too
    if parts and (form == "groups-of" or (form, count) == ("every", 1)):
        raise ValueError(_cannot(text, "no layer is left that is not repeated whole"))
    if "moe" in parts:
        parts -= {"moe-act", "shared-experts"}  # which are in it
    if "selective" in parts and len(parts) > 1:
        raise ValueError(_cannot(text, "selective says of every part whether it is repeated"))
    return Recompute(tuple(part for part in PARTS if part in parts), form, count)


def _cannot(text: str, why: str) -> str:
    return (
        f"recompute {text!r}: {why} (none, full, every-K, first-K, groups-of-K, "
        f"{', '.join(PARTS)}, or several joined by +)"
    )


def _canonical(text: str) -> str:
    return parse_recompute(text).name


RecomputeName = Annotated[
    str,
    AfterValidator(_canonical),
    Field(examples=["none", "selective", "full", "every-2", "first-4", "layernorm+moe-act"]),
]
"""A kind of recompute as it is written."""


@dataclass(frozen=True, slots=True)
class PartRule:
    """Which models have a part."""

    allowed: Callable[[ModelSpec], bool]
    what: str
    """What a model without it lacks."""


def _shares_experts(model: ModelSpec) -> bool:
    return model.moe is not None and model.moe.shared_ffn_size > 0


PART_RULES: dict[Part, PartRule] = {
    "mlp": PartRule(lambda model: model.n_moe_layers < model.n_layers, "dense layers"),
    "moe": PartRule(lambda model: model.moe is not None, "experts"),
    "moe-act": PartRule(lambda model: model.moe is not None, "experts"),
    "shared-experts": PartRule(_shares_experts, "shared experts"),
    "mla-up-proj": PartRule(lambda model: model.mla is not None, "latent attention"),
}


def simplest(kind: Recompute, attention: Attention) -> Recompute:
    """Return the first name of a kind: of unfused attention, `core-attn` is `selective` too."""
    return SELECTIVE if (kind, attention) == (CORE_ATTENTION, "unfused") else kind


def has_part(model: ModelSpec, part: Part) -> bool:
    """Return whether a model has what a part repeats."""
    return part not in PART_RULES or PART_RULES[part].allowed(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeReach:
    """Which kinds an executor runs."""

    proposed: tuple[str, ...] = ("none", "selective", "full")
    """What a search may propose."""
    parts: frozenset[Part] = field(default_factory=frozenset)
    """Whatever of these a plan or a limit asks for, it repeats too."""
    whole: frozenset[WholeLayers] = field(default_factory=frozenset)
    mixed: bool = False
    """Whether parts can be repeated of the layers that are not repeated whole."""

    def runs(self, kind: Recompute, attention: Attention) -> bool:
        """Return whether the executor runs a kind, by the name that it has for it."""
        if kind == SELECTIVE and attention == "unfused" and self.runs(CORE_ATTENTION, attention):
            return True
        if kind.name in self.proposed:
            return True
        if kind.parts and kind.whole and not self.mixed:
            return False
        return set(kind.parts) <= self.parts and (kind.whole is None or kind.whole in self.whole)
