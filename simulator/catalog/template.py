"""A commented scenario to start from."""

from __future__ import annotations

import json
from pathlib import Path

from simulator.catalog.cluster import parse_cluster
from simulator.catalog.model import parse_model
from simulator.catalog.registry import DATA
from simulator.catalog.schema import scenario_schema
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic

SCHEMA_NAME = "scenario.schema.json"
"""Written beside a scenario; the first line of the template names it."""


def scenario_template(*, model: str | None = None, cluster: str | None = None) -> str:
    """Return a commented scenario, with another model or cluster where they are given."""
    text = (DATA / "scenario-template.yaml").read_text()
    if model is not None:
        parse_model(model, where="--model")
        text = text.replace("\nmodel: llama3-8b\n", f"\nmodel: {json.dumps(model)}\n")
    if cluster is not None:
        parse_cluster(cluster, where="--cluster")
        text = text.replace("\ncluster: h100-sxm:64\n", f"\ncluster: {json.dumps(cluster)}\n")
    return text


def write_scenario(path: Path, text: str) -> None:
    """Write a new scenario and its schema beside it. Raises InputError where one is already."""
    if path.exists():
        raise InputError("is already there", where=str(path), fix="choose another name")
    write_atomic(path.with_name(SCHEMA_NAME), json.dumps(scenario_schema(), indent=2) + "\n")
    write_atomic(path, text)
