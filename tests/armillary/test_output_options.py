"""Files that cannot be written are refused before any work is done for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armillary import cli
from simulator.spec.errors import InputError

FILE = "scenarios/first-light.yaml"


def run(*words: str) -> None:
    CliRunner().invoke(cli._application(), list(words), catch_exceptions=False)


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    for name in ("planner.search.search", "simulator.validate.validate", "planner.size.size"):
        monkeypatch.setattr(name, refuse)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("validate", "--picture", "x.foo"), "--picture: x.foo is neither .svg nor .png"),
        (("validate", "--markdown", "/nowhere/x.md"), "--markdown: .* there is no folder /nowhere"),
        (("simulate", FILE, "--timeline", "x"), "--timeline: x is neither"),
        (("simulate", FILE, "--trace", "."), "--trace: . is a folder; name a file"),
        (("simulate", FILE, "--table", "x.xls"), "--table: x.xls is neither .csv nor .parquet"),
        (("whatif", FILE, "--set", "limits.tp=1", "--picture", "a.pdf"), "--picture: a.pdf is"),
        (("whatif", FILE, "--set", "limits.tp=1", "--table", "a.pdf"), "--table: a.pdf is"),
        (
            ("size", FILE, "--finish-within", "1d", "--table", "/nowhere/a.csv"),
            "--table: .* no folder",
        ),
        (("plan", FILE, "--out", "README.md"), "--out: .*README.md is no folder"),
        (("export", "PLAN", "--to", "slurm", "-o", "README.md/a"), "--out: .*README.md is no fol"),
        (("run", FILE, "--run-dir", "README.md/a"), "--run-dir: .*README.md is no folder"),
        (("calibrate", "-o", "docs"), "--output: docs is a folder"),
        (("calibrate", "-o", "README.md/a.yaml"), "--output: .*README.md is no folder"),
        (("plan", FILE, "--report", "/nowhere/a.html"), "--report: .* no folder /nowhere"),
    ],
)
def test_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*words)


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match=r"--report: .* cannot be written: .* is read-only"):
        run("plan", FILE, "--report", str(tmp_path / "a.html"))
