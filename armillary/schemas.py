"""Every JSON Schema by name: of what one writes, and of what the verbs answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from armillary.answers import ANSWERS, answer_schema
from simulator.catalog.schema import SCHEMAS as WRITTEN
from simulator.spec.errors import unknown_name

SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = WRITTEN | {
    f"{verb}-answer": partial(answer_schema, verb) for verb in ANSWERS
}


def schema_of(kind: str) -> dict[str, Any]:
    """Return one schema. Raises InputError with near names."""
    if kind not in SCHEMAS:
        raise unknown_name("schema", kind, SCHEMAS)
    return SCHEMAS[kind]()
