"""A described thing with some of its fields changed."""

from __future__ import annotations

from typing import Any

from simulator.spec.base import Spec, spec_name


def variant_fields(base: Spec, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `base` with `changes` over them, named as what it is: a variant."""
    if not changes:
        return base.model_dump()
    fields = changed(base.model_dump(exclude_defaults=True), changes)
    if "name" in fields and "name" not in changes:
        fields["name"] = spec_name(f"{fields['name']}-variant")
    return fields


def changed(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `above` over those of `below`, section by section."""
    result = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            result[key] = changed(below[key], above[key])
    return result
