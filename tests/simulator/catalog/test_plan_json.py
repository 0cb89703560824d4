"""plan.json: read as untrusted input, written whole."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile


@pytest.fixture
def file(tmp_path: Path, example_plan_file: PlanFile) -> Path:
    path = tmp_path / "plan.json"
    write_plan_file(path, example_plan_file)
    return path


def test_what_is_written_is_read(
    file: Path, example_plan_file: PlanFile, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_plan_file(file) == example_plan_file
    assert not caplog.records


def edit(file: Path, change: Any) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def rehash(value: Any) -> None:
    """Make the fields that stand there those that the file was written with."""
    text = json.dumps(value["scenario"], sort_keys=True, separators=(",", ":"))
    value["provenance"]["inputs_sha256"] = hashlib.sha256(text.encode()).hexdigest()


def from_before_a_field(value: Any) -> None:
    value["scenario"]["job"].pop("overlap")
    rehash(value)


def test_a_file_from_before_a_field_is_unchanged(
    file: Path, tmp_path: Path, example_plan_file: PlanFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when it is read, nor when this version has written it again."""
    edit(file, from_before_a_field)
    again = tmp_path / "again.json"
    write_plan_file(again, read_plan_file(file))
    assert read_plan_file(again) == example_plan_file
    assert not caplog.records


def test_a_file_from_before_a_default_changed_is_unchanged(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a field says counts, not whether it says what this version takes by default."""
    written = json.loads(file.read_text())["provenance"]["inputs_sha256"]
    edit(file, rehash)
    assert json.loads(file.read_text())["provenance"]["inputs_sha256"] == written
    assert read_plan_file(file).provenance.inputs_sha256 == written
    assert not caplog.records


@pytest.mark.parametrize(
    "change",
    [
        lambda scenario: scenario["job"].update(tokens=5),
        lambda scenario: scenario["job"].update(dropout=0.1),  # a field that was not there
    ],
)
@pytest.mark.parametrize("before", [lambda _: None, from_before_a_field])
def test_a_changed_scenario_is_noticed(
    file: Path, before: Any, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    edit(file, before)
    edit(file, lambda value: change(value["scenario"]))
    with caplog.at_level(logging.WARNING):
        changed = read_plan_file(file)
    assert "its scenario was changed after planning" in caplog.text
    caplog.clear()
    write_plan_file(file, changed)
    read_plan_file(file)
    assert "its scenario was changed after planning" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(kind="other"), "not a plan file of armillary; make one with"),
        (lambda v: v.pop("kind"), "not a plan file of armillary"),
        (lambda v: v.update(version=2), "plan file of version 2, and this armillary reads version"),
        (lambda v: v["plan"].update(tp="8"), "plan.tp: should be a valid integer, not '8'"),
        (lambda v: v["plan"].update(tpp=8), "plan.tpp: unknown field; did you mean tp?"),
        (lambda v: v["plan"].pop("tp"), None),
        (lambda v: v["plan"].update(schedule="zigzag"), "plan.schedule: should be 'gpipe'"),
        (lambda v: v["plan"].update(zero_stage=0, dp_shard=2), "plan: dp_shard=2 with zero_stage"),
        (lambda v: v["prediction"].pop("step"), "prediction.step: is missing"),
        (
            lambda v: v["alternatives"][0].update(rank=None),
            "alternatives.0.rank: should be a valid integer, not empty",
        ),
        (
            lambda v: v["scenario"].update(name="a\n#SBATCH --wrap=ls"),
            "scenario.name: String should match pattern",
        ),
    ],
)
def test_a_foreign_or_edited_file_says_what(file: Path, change: Any, message: str | None) -> None:
    edit(file, change)
    if message is None:
        assert read_plan_file(file).plan.tp == 1
        return
    with pytest.raises(InputError) as caught:
        read_plan_file(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plan.json:1: not valid JSON"),
        ("[]", "not a plan file of armillary"),
        ('{"kind": "armillary-plan"', "plan.json:1: not valid JSON"),
        ('{"kind": 1, "kind": 2}', "key 'kind' is given twice"),
        ('{"a": Infinity}', "Infinity is not a number"),
        ('{"a": 1e400}', "number 1e400 is too large"),
        ('{"a": ' + "9" * 5000 + "}", "a number with too many digits"),
        ("[" * 200_000, "nested too deeply"),
        (" " * (16 * 2**20 + 1), "larger than 16384 KiB"),
    ],
)
def test_what_is_no_plan_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_plan_file(path)
    assert message in str(caught.value)


def test_a_truncated_file_says_so(file: Path) -> None:
    text = file.read_text()
    file.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="the file is truncated or not JSON"):
        read_plan_file(file)
