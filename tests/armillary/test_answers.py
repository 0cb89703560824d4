"""What every verb prints with --json follows the schema that `armillary schema` prints for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from armillary import cli
from armillary.answers import ANSWERS
from armillary.commands import VERBS
from armillary.exporting import write_export
from planner.export import find_exporter
from simulator.catalog.cluster import parse_cluster
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.cluster import Calibration
from simulator.spec.plan_file import PlanFile
from simulator.validate import PUBLISHED
from tests.runtime.test_compare import leave_run, steps

MEASURED = parse_cluster("cpu:2").model_copy(
    update={"calibration": Calibration(date="2026-11-25", tool_version="torch 2.13.0")}
)
SCENARIO = "scenarios/first-light.yaml"


def run(*words: str | Path) -> tuple[int, str]:
    arguments = [str(word) for word in words]
    result = CliRunner().invoke(cli._application(), arguments, catch_exceptions=False)
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return {verb: json.loads(run("schema", f"{verb}-answer")[1]) for verb in ANSWERS}


def checked(verb: str, text: str, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = json.loads(text)
    jsonschema.validate(answer, schemas[verb], cls=jsonschema.Draft202012Validator)
    assert answer["version"] == 1
    assert isinstance(answer, dict)
    return answer


def test_every_verb_has_an_answer() -> None:
    assert set(ANSWERS) | {"schema"} == set(VERBS)


@pytest.mark.parametrize(
    "words",
    [
        ("plan", SCENARIO, "--out", "OUT"),
        ("simulate", SCENARIO, "--replicas", "2"),
        ("simulate", SCENARIO, "--engine", "closed-form"),
        ("whatif", SCENARIO, "--set", "limits.tp=1,2,64"),
        ("size", "scenarios/llama3-70b-on-64-h100.yaml", "--finish-within", "90d"),
        ("explain", "PLAN", "--against", "1"),
        ("export", "PLAN", "--to", "megatron", "--out", "OUT"),
        ("import", "SETTINGS", "PLAN", "--from", "megatron", "--out", "OUT.json"),
        ("compare", "RUN"),
        ("validate", "ROWS"),
        ("list",),
        ("list", "devices"),
        ("list", "models", "deepseek-v3"),
        ("list", "targets"),
        ("list", "exports"),
        ("list", "scenarios"),
        ("init",),
        ("init", "OUT.yaml"),
        ("check", SCENARIO),
        ("check", "PLAN"),
    ],
    ids=" ".join,
)
def test_json_follows_its_schema(
    words: tuple[str, ...], schemas: dict[str, Any], tmp_path: Path, example_plan_file: PlanFile
) -> None:
    write_plan_file(tmp_path / "plan.json", example_plan_file)
    published = PUBLISHED[0].read_text().splitlines(keepends=True)
    (tmp_path / "rows.csv").write_text("".join(published[:4]))
    leave_run(tmp_path / "run", example_plan_file, steps())
    write_export(find_exporter("megatron").export(example_plan_file), tmp_path / "settings")
    places = {
        "PLAN": tmp_path / "plan.json",
        "ROWS": tmp_path / "rows.csv",
        "RUN": tmp_path / "run",
        "OUT": tmp_path / "out",
        "OUT.yaml": tmp_path / "out.yaml",
        "OUT.json": tmp_path / "out.json",
        "SETTINGS": tmp_path / "settings" / "megatron.args",
    }
    exit_code, text = run(*(places.get(word, word) for word in words), "--json")
    assert exit_code == 0
    checked(words[0], text, schemas)


def test_mistakes_follow_the_schema_too(schemas: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: lama\ncluster: h100:8\nfrobs: 1\n")
    exit_code, text = run("check", tmp_path / "a.yaml", "--json")
    assert exit_code == 2
    answer = checked("check", text, schemas)
    assert not answer["valid"]
    assert len(answer["mistakes"]) == 2


@pytest.mark.ranks
def test_json_of_a_run_follows_its_schema(schemas: dict[str, Any], tmp_path: Path) -> None:
    small = ("--steps", "2", "--run-dir", str(tmp_path / "run"), "--json")
    exit_code, text = run("run", SCENARIO, *small)
    assert exit_code == 0
    assert checked("run", text, schemas)["n_steps"] == 2
    exit_code, text = run("compare", tmp_path / "run", "--json")
    checked("compare", text, schemas)


def test_json_of_a_calibration_follows_its_schema(
    schemas: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.calibrate.calibrate", lambda **_: MEASURED)
    file = tmp_path / "m.yaml"
    exit_code, text = run("calibrate", "-o", file, "--json")
    assert exit_code == 0
    answer = checked("calibrate", text, schemas)
    assert answer["file"] == str(file)
    assert answer["cluster"] == MEASURED.model_dump(mode="json")


@pytest.mark.parametrize("verb", ANSWERS)
def test_the_schema_is_a_schema_and_closed(verb: str, schemas: dict[str, Any]) -> None:
    schema = schemas[verb]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "version" in schema["required"]
    assert schema["additionalProperties"] is False
