"""JSON Schemas of what one writes: names where fields may stand, and quantities with units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic.json_schema import models_json_schema

from simulator.catalog.registry import list_names
from simulator.spec.cluster import ClusterSpec
from simulator.spec.cluster_request import ClusterRequest
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import TARGETS

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def plan_schema() -> Schema:
    """Return the schema of plan.json."""
    return {"$schema": _DIALECT} | PlanFile.model_json_schema()


def cluster_schema() -> Schema:
    """Return the schema of a cluster file: a whole cluster, or what differs from the catalog."""
    _, schema = models_json_schema([(ClusterRequest, "validation"), (ClusterSpec, "validation")])
    definitions = schema["$defs"]
    _open_cluster(definitions)
    return {
        "$schema": _DIALECT,
        "title": "Armillary cluster",
        "anyOf": [_ref("ClusterRequest"), _ref("ClusterSpec")],
        "$defs": definitions,
    }


def scenario_schema() -> Schema:
    """Return the schema of a scenario file."""
    _, schema = models_json_schema([(Scenario, "validation"), (ClusterRequest, "validation")])
    definitions = schema["$defs"]
    scenario = definitions.pop("Scenario")
    _open_model(definitions)
    _open_cluster(definitions)
    properties = scenario["properties"]
    properties["extends"] = _text("Scenario file that this one changes, relative to this file.")
    properties["model"] = _either("ModelChanges", list_names("models"))
    properties["cluster"] = _either("ClusterRequest", _clusters()) | {
        "description": "A device with a count, a cluster file, or fields."
    }
    properties["cluster"]["anyOf"].append(_ref("ClusterSpec"))
    properties["limits"]["anyOf"] = [
        _text("File that holds these fields."),
        {"$ref": properties["limits"].pop("$ref")},
    ]
    properties["target"] |= {"examples": list(TARGETS)}
    for section, field, kind in (
        ("JobSpec", "software", "software"),
        ("ReliabilitySpec", "profile", "failures"),
        ("EconomicsSpec", "price", "prices"),
        ("EconomicsSpec", "grid", "grids"),
    ):
        definitions[section]["properties"][field]["examples"] = list(list_names(kind))
    for section, field in (("ReliabilitySpec", "replay"), ("EconomicsSpec", "price_series")):
        listed = definitions[section]["properties"].pop(field)
        file = _text("File with a row an entry, relative to this one (.csv or .json).")
        definitions[section]["properties"][field] = {
            "anyOf": [file, {key: part for key, part in listed.items() if key != "description"}],
            "description": listed["description"],
        }
    return {
        "$schema": _DIALECT,
        "title": "Armillary scenario",
        "description": scenario["description"],
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "anyOf": [{"required": ["extends"]}, {"required": ["model", "cluster"]}],
        "$defs": definitions,
    }


SCHEMAS: dict[str, Callable[[], Schema]] = {
    "scenario": scenario_schema,
    "plan": plan_schema,
    "cluster": cluster_schema,
}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _either(definition: str, names: tuple[str, ...]) -> Schema:
    return {"anyOf": [{"type": "string", "examples": list(names)}, _ref(definition)]}


def _clusters() -> tuple[str, ...]:
    return tuple(f"{name}:64" for name in list_names("devices"))


def _open_model(definitions: Schema) -> None:
    """Let a model start from a base, in which case it need not be complete."""
    base = _text("Catalog name, or path of a config.json, that the fields change.")
    whole = definitions["ModelSpec"]
    definitions["ModelChanges"] = {
        "type": "object",
        "description": whole["description"],
        "additionalProperties": False,
        "properties": {"base": base | {"examples": list(list_names("models"))}}
        | {name: _loose(field, definitions) for name, field in whole["properties"].items()},
        "anyOf": [{"required": ["base"]}, {"required": whole["required"]}],
    }


def _loose(field: Schema, definitions: Schema) -> Schema:
    """Return a section with nothing required: what it changes has the rest."""
    if "anyOf" in field:
        return field | {"anyOf": [_loose(choice, definitions) for choice in field["anyOf"]]}
    name = field.get("$ref", "").removeprefix("#/$defs/")
    section = definitions.get(name, {})
    if section.get("type") != "object":
        return field
    return {key: part for key, part in section.items() if key != "required"}


def _open_cluster(definitions: Schema) -> None:
    """Let a cluster start from a base, and its fabric be a name or a changed one."""
    request = definitions["ClusterRequest"]
    base = _text("Device with a count, or path of a cluster file, that the fields change.")
    request["properties"]["base"] = base | {"examples": list(_clusters())}
    request["properties"]["device"]["examples"] = list(list_names("devices"))
    request["anyOf"] = [{"required": ["base"]}, {"required": ["device"]}]
    request.pop("required")
    fabric = definitions["FabricSpec"]
    changed = _loose(_ref("FabricSpec"), definitions)
    changed["properties"] = {"base": _text("Fabric of the catalog.")} | {
        name: _loose(field, definitions) for name, field in fabric["properties"].items()
    }
    request["properties"]["fabric"]["anyOf"] = [
        {"type": "string", "examples": list(list_names("fabrics"))},
        changed | {"anyOf": [{"required": ["base"]}, {"required": fabric["required"]}]},
    ]
