"""Files of JSON lines that grow while they are read."""

from pathlib import Path
from typing import Any

import pytest

from runtime.json_lines import LINE_LIMIT_BYTES, JsonLines
from simulator.spec.errors import InputError


def number(record: dict[str, Any]) -> int:
    return int(record["n"])


def test_every_record_comes_once_and_an_unfinished_one_waits(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    lines = JsonLines(path, number, kind="numbers")
    assert lines.new() == []
    path.write_text('{"n": 1}\n{"n": 2}\n{"n"')
    assert lines.new() == [1, 2]
    assert lines.new() == []
    with path.open("a") as file:
        file.write(': 3}\n{"n": 4}\n')
    assert lines.new() == [3, 4]


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"n": 1}\n' + "x" * (LINE_LIMIT_BYTES + 1))
    with pytest.raises(InputError, match="not a line of numbers") as refused:
        JsonLines(path, number, kind="numbers").new()
    assert refused.value.where == f"{path}:2"


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        JsonLines(tmp_path, number, kind="numbers").new()
