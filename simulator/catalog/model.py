"""From the model one writes (a name, a Hugging Face configuration, fields) to a ModelSpec."""

from __future__ import annotations

from typing import Any

from simulator.catalog.hf_config import read_hf_config
from simulator.catalog.layers import looks_like_path
from simulator.catalog.mistakes import validate
from simulator.catalog.registry import find_model
from simulator.catalog.variant import variant_fields
from simulator.catalog.yaml_text import Document
from simulator.spec.model import ModelSpec


def parse_model(text: str, *, where: str | None = None) -> ModelSpec:
    """Return the model of a catalog name, or of a path to a `config.json`."""
    return read_hf_config(text) if looks_like_path(text) else find_model(text, where=where)


def model_of(document: Document) -> ModelSpec:
    """Return the model of a scenario's `model` section."""
    value = document.value.get("model")
    where = document.where(("model",))
    if not isinstance(value, dict):
        raise document.mistake(
            ("model",),
            "is missing or neither a name nor fields",
            "write model: llama3-8b, or see `armillary list models`",
        )
    changes: dict[str, Any] = {key: field for key, field in value.items() if key != "base"}
    if "base" not in value:
        return validate(ModelSpec, document, changes, ("model",))
    base = parse_model(str(value["base"]), where=where)
    if not changes:
        return base
    return validate(ModelSpec, document, variant_fields(base, changes), ("model",))
