"""From what pydantic found to lines a person can act on: place, field, what is wrong, the cure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.catalog.yaml_text import Document, KeyPath
from simulator.spec.errors import InputError, all_of, near_names

S = TypeVar("S", bound=BaseModel)

_CLASS_NAME = re.compile(r"should be a valid dictionary( or .*)?$")

_FIELD = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)(?:=|: )")
"""How messages of rules over several sections begin: with the field, and its value or a colon."""

LIMIT_SHOWN = 20
"""Mistakes shown at once."""

OTHER_NAMES = {
    "tensor_parallel": "tp",
    "tensor_model_parallel_size": "tp",
    "pipeline_parallel": "pp",
    "pipeline_model_parallel_size": "pp",
    "data_parallel": "dp",
    "context_parallel": "cp",
    "expert_parallel": "ep",
    "zero": "zero_stage",
    "micro_batch_size": "microbatch_sequences",
    "global_batch_size": "global_batch_sequences",
    "batch_size": "global_batch_sequences",
    "batch": "global_batch_sequences",
    "seq_len": "sequence_length",
    "seq_length": "sequence_length",
    "dtype": "precision",
    "lr": "learning_rate",
    "gpus": "devices",
    "num_gpus": "devices",
    "num_nodes": "nodes",
    "gpu": "device",
    "num_layers": "n_layers",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "num_key_value_heads": "n_kv_heads",
    "intermediate_size": "ffn_size",
    "deadline": "finish_within",
}
"""What other programs call a field, for the hint only."""


def validate(model: type[S], document: Document, value: Any, path: KeyPath = ()) -> S:
    """Return `value`, the part of the document at `path`, as a typed value.

    Raises one InputError that lists every mistake with its place.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise all_of(mistakes_of(error, model, document, path)) from None


def mistakes_of(
    error: ValidationError,
    model: type[BaseModel],
    document: Document,
    path: KeyPath = (),
    without: Collection[str] = (),
) -> list[InputError]:
    """Return the mistakes of one validation, in the order of the document, each place once.

    `without` are fields whose mistakes are known already.
    """
    found: dict[KeyPath, InputError] = {}
    details = error.errors(include_url=False, include_context=False, include_input=False)
    written = [_written(detail, document, path) for detail in details[:LIMIT_SHOWN]]
    for detail, inner in zip(details, written, strict=False):
        if detail["loc"][:1] and detail["loc"][0] in without:
            continue
        if _is_refused_alternative(detail, inner, written):
            continue
        what, fix = _explain(detail, model, inner[len(path) :], document, inner)
        what, inner = _named(what, document, inner)
        found.setdefault(inner, document.mistake(inner, what, fix))
    return list(found.values())


def _is_refused_alternative(detail: ErrorDetails, inner: KeyPath, written: list[KeyPath]) -> bool:
    """Return whether the value was meant as the other alternative: fields instead of a name."""
    deeper = any(len(other) > len(inner) and other[: len(inner)] == inner for other in written)
    return deeper and detail["type"] == "string_type"


def _written(detail: ErrorDetails, document: Document, path: KeyPath) -> KeyPath:
    """Return the path of an error without the type names pydantic adds for alternatives."""
    value = document.part(path)
    inner = list(path)
    for position, key in enumerate(detail["loc"]):
        last = position == len(detail["loc"]) - 1
        if isinstance(value, dict) and (key in value or (last and detail["type"] == "missing")):
            value = value.get(str(key))
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            continue
        inner.append(key if isinstance(key, int) else _printable(key))
    return tuple(inner)


def _explain(
    detail: ErrorDetails,
    model: type[BaseModel],
    inner: KeyPath,
    document: Document,
    full: KeyPath,
) -> tuple[str, str | None]:
    """Return what is wrong and what to do."""
    if detail["type"] == "extra_forbidden":
        return "unknown field", _suggest(str(inner[-1]), _model_at(model, inner[:-1]))
    if detail["type"] == "missing":
        return "is missing", "add it"
    message = detail["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    message = _CLASS_NAME.sub("should be a mapping of fields", message)
    shown = _shown(document.part(full))
    if detail["type"] == "value_error" and isinstance(document.part(full), dict):
        return message, None  # the message of a rule over several fields names their values
    return f"{message}, not {shown}", None


def _named(what: str, document: Document, inner: KeyPath) -> tuple[str, KeyPath]:
    """Return the rest of a message and the path of the field that it names first, if it does."""
    first = _FIELD.match(what)
    named = (*inner, *first[1].split(".")) if first else inner
    if first is None or document.part(named) is None:
        return what, inner
    return what[first.end() :], named


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for key in path:
        field = current.model_fields.get(str(key)) if current is not None else None
        current = next(_models_in(field.annotation), None) if field is not None else None
    return current


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _suggest(name: str, model: type[BaseModel] | None) -> str | None:
    if model is None:
        return None
    fields = list(model.model_fields)
    known = fields + [other for other, field in OTHER_NAMES.items() if field in fields]
    for near in near_names(name, known, limit=1):
        return f"did you mean {OTHER_NAMES.get(near, near)}?"
    return "known: " + ", ".join(fields)


def _shown(value: Any) -> str:
    """Return a scalar as it is written, and the kind of anything larger."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _printable(key: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in key)
    return text if len(text) <= 40 else text[:37] + "..."
