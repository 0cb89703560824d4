"""Weights of a safetensors folder into a model that is not divided yet.

What is loaded takes the place of what `initialize` draws, so it works under every plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.exchange.places import Place, family_of, places_of
from runtime.model.transformer import Transformer, whole_model
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec

_SHOWN = 5

_KNOWN_EXTRAS = (".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq")
"""Ends of names that old files hold and no model needs: masks and frequencies."""


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """The tensors of a folder by name, read when they are asked for."""

    tensors: dict[str, Any]
    """The open file of every tensor."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, without reading it."""
        return tuple(self.tensors[name].get_slice(name).get_shape())

    def read(self, place: Place) -> Tensor:
        """Return what lies at a place, as we have it."""
        tensor: Tensor = self.tensors[place.tensor].get_tensor(place.tensor)
        if place.transposed:
            tensor = tensor.T
        part = tensor.chunk(place.n_parts)[place.part]
        return part if place.pairs is None else place.pairs.apart(part)


@contextmanager
def opened(folder: Path) -> Iterator[TensorFiles]:
    """Open all safetensors files of a folder. Raises InputError where they cannot be read."""
    from safetensors import SafetensorError, safe_open

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise InputError(
            "there are no safetensors files here",
            where=str(folder),
            fix="name the folder of a model as transformers saves it",
        )
    tensors: dict[str, Any] = {}
    with ExitStack() as stack:
        for path in paths:
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise InputError(f"damaged: {error}", where=str(path)) from None
            tensors |= dict.fromkeys(file.keys(), file)
        yield TensorFiles(tensors)


@torch.no_grad()
def load_weights(model: Transformer, spec: ModelSpec, folder: Path) -> None:
    """Fill every parameter of a chunk from a folder."""
    family = family_of(spec)
    with opened(folder) as files:
        for name, parameter in model.named_weights():
            places = places_of(name, spec, family)
            parts = [files.read(place) for place in places]
            whole = parts[0] if len(parts) == 1 and parameter.dim() < 3 else torch.stack(parts)
            parameter.copy_(whole)


def require_weights(spec: ModelSpec, folder: Path) -> None:
    """Raise InputError unless a folder has exactly the tensors of the model; it says which not."""
    family = family_of(spec)
    with torch.device("meta"):
        model = Transformer(spec, whole_model(spec))
    with opened(folder) as files:
        wanted: dict[str, tuple[int, ...]] = {}
        for name, parameter in model.named_weights():
            shape = tuple(parameter.shape[-2:] if parameter.dim() > 2 else parameter.shape)
            for place in places_of(name, spec, family):
                whole = (shape[0] * place.n_parts, *shape[1:])
                wanted[place.tensor] = whole[::-1] if place.transposed else whole
        extra = [
            name
            for name in sorted(files.tensors.keys() - wanted.keys())
            if not name.endswith(_KNOWN_EXTRAS) and not (spec.tied_embeddings and "lm_head" in name)
        ]
        differing = [
            f"{name} {files.shape(name)}, and the model has {shape}"
            for name, shape in wanted.items()
            if name in files.tensors and files.shape(name) != shape
        ]
        missing = [name for name in wanted if name not in files.tensors]
    mistakes = [
        f"{what}: {', '.join(names[:_SHOWN])}"
        + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for what, names in (
            ("missing", missing),
            ("of another shape", differing),
            ("not in the model", extra),
        )
        if names
    ]
    if mistakes:
        raise InputError(
            f"not the weights of {spec.name} (as {family.model_type}): {'; '.join(mistakes)}",
            where=str(folder),
            fix="take the model from the folder's own config.json (model: FOLDER)",
        )
