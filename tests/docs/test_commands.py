"""The commands in README and tutorial work, in their order, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTS_RANKS = "this-machine.yaml"
"""Blocks that name it measure and train; they are tested apart."""


def blocks(page: str) -> list[str]:
    """Return the shell blocks of a page."""
    return re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def run(block: str, folder: Path) -> None:
    """Run a block as a reader would, with this checkout's command on the path."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    command = commands / "armillary"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m armillary "$@"\n')
    command.chmod(0o755)
    if not (folder / "scenarios").exists():
        (folder / "scenarios").symlink_to(ROOT / "scenarios")
    environment = os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/tutorial.md",
        "docs/how-to/simulate-a-campaign.md",
        "docs/how-to/cost-and-energy.md",
    ],
)
def test_commands_work_in_their_order(page: str, tmp_path: Path) -> None:
    found = [block for block in blocks(page) if STARTS_RANKS not in block]
    assert found
    for block in found:
        run(block, tmp_path)


@pytest.mark.ranks
def test_the_run_of_the_tutorial_works(tmp_path: Path) -> None:
    (block,) = (block for block in blocks("docs/tutorial.md") if STARTS_RANKS in block)
    run(block, tmp_path)
    names = {path.name for path in (tmp_path / "runs" / "first").iterdir()}
    assert names >= {"plan.json", "metrics.jsonl", "events.jsonl", "checkpoints"}
    assert names >= {"comparison.json", "report.html"}


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
