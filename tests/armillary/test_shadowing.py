"""A foreign package that carries one of our names is refused by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def import_armillary(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import armillary; print(armillary.__version__)"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["planner", "runtime", "simulator"])
def test_foreign_package_is_named(tmp_path: Path, name: str) -> None:
    foreign = tmp_path / name / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("")
    done = import_armillary(tmp_path)
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert str(foreign) in done.stderr


def test_foreign_module_is_named(tmp_path: Path) -> None:
    foreign = tmp_path / "planner.py"
    foreign.write_text("")
    done = import_armillary(tmp_path)
    assert done.returncode != 0
    assert str(foreign) in done.stderr


def test_folder_without_init_does_not_hide_ours(tmp_path: Path) -> None:
    (tmp_path / "planner").mkdir()
    done = import_armillary(tmp_path)
    assert done.returncode == 0, done.stderr


def test_nothing_foreign_imports(tmp_path: Path) -> None:
    done = import_armillary(tmp_path)
    assert done.returncode == 0, done.stderr
