"""`armillary init` writes a scenario that loads; `armillary schema` says what one may write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from armillary import cli
from simulator.catalog.cluster import parse_cluster
from simulator.catalog.layers import read_mapping
from simulator.catalog.scenario_file import load_scenario
from simulator.catalog.schema import SCHEMAS
from simulator.catalog.template import scenario_template
from simulator.catalog.yaml_text import read_yaml
from simulator.spec.errors import InputError


def run(*arguments: str) -> str:
    return CliRunner().invoke(cli._application(), arguments, catch_exceptions=False).stdout


def problems(kind: str, value: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[kind]())
    return [error.message for error in validator.iter_errors(value)]


def test_the_template_loads_and_names_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    screen = run("init", str(file))
    assert f"armillary check {file}" in screen
    assert load_scenario(file).model.name == "llama3-8b"
    header = file.read_text().splitlines()[0]
    schema = tmp_path / header.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(schema.read_text())["title"] == "Armillary scenario"


def test_every_optional_line_of_the_template_is_true(tmp_path: Path) -> None:
    """Lines behind `#:` are alternatives of the line above or further fields; all must load."""
    lines = scenario_template().splitlines()
    drop = {"model: llama3-8b", "cluster: h100-sxm:64"}
    text = "\n".join(line.removeprefix("#: ") for line in lines if line not in drop)
    file = tmp_path / "all.yaml"
    file.write_text(text)
    scenario = load_scenario(file)
    assert scenario.model.n_layers == 16
    assert scenario.limits.tp == 8
    assert scenario.target == "torchtitan"
    sections = {"goal", "limits", "reliability", "economics", "run", "target", "seed"}
    assert sections <= scenario.model_fields_set


def test_the_template_takes_model_and_cluster(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    run("init", str(file), "--model", "gpt2", "--cluster", "cpu:2")
    scenario = load_scenario(file)
    assert scenario.model.name == "gpt2"
    assert scenario.cluster == parse_cluster("cpu:2")
    assert run("init", "--model", "gpt2", "--cluster", "cpu:2") == file.read_text()
    assert json.loads(run("init", "--json"))["scenario"] == scenario_template()


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    with pytest.raises(InputError, match="is already there; choose another name"):
        run("init", str(file))
    assert file.read_text() == "mine"


def test_unknown_models_are_refused() -> None:
    with pytest.raises(InputError, match="--model: unknown model 'lama3-8b'"):
        run("init", "--model", "lama3-8b")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_schemas(kind: str) -> None:
    schema = json.loads(run("schema", kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


def test_an_unknown_schema() -> None:
    with pytest.raises(InputError, match="unknown schema 'plans'; did you mean plan"):
        run("schema", "plans")


@pytest.mark.parametrize("file", sorted(Path("scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_shipped_scenarios_agree_with_the_schema(file: Path) -> None:
    assert problems("scenario", read_yaml(file.read_text(), str(file)).value) == []


GOOD = {"model": "llama3-8b", "cluster": "h100-sxm:64"}


@pytest.mark.parametrize(
    "value",
    [
        {"extends": "a.yaml"},
        GOOD | {"job": {"tokens": "1T"}, "goal": {"finish_within": "30d"}},
        GOOD | {"model": {"base": "llama3-8b", "n_layers": 4}},
        GOOD | {"model": {"base": "mixtral-8x7b", "moe": {"n_experts": 16}}},
        GOOD | {"cluster": {"device": "h100", "fabric": {"base": "roce", "oversubscription": 2}}},
        GOOD | {"cluster": {"base": "h100:64", "memory": "64 GiB"}},
        GOOD | {"cluster": parse_cluster("cpu:2").model_dump(mode="json")},
    ],
)
def test_what_one_may_write_agrees_with_the_schema(value: dict[str, Any]) -> None:
    assert problems("scenario", value) == []


@pytest.mark.parametrize(
    "value",
    [
        {"model": "llama3-8b"},
        GOOD | {"frobs": 1},
        GOOD | {"limits": {"tpp": 1}},
        GOOD | {"goal": {"minimize": "happiness"}},
        GOOD | {"model": {"n_layers": 4}},
        GOOD | {"cluster": {"nodes": 4}},
        GOOD | {"cluster": {"device": "h100", "fabric": {"kind": "ethernet"}}},
    ],
)
def test_mistakes_disagree_with_the_schema(value: dict[str, Any]) -> None:
    assert problems("scenario", value)


def test_a_cluster_file_agrees_with_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("device: h100-sxm\nnodes: 3\nmemory: 64 GiB\n")
    assert problems("cluster", read_mapping(file).value) == []
    assert problems("cluster", {"device": "h100", "nods": 3})
