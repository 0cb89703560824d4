"""Exports, tried on the code of those they are for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from armillary.exporting import write_export
from planner.export import find_exporter
from planner.export.megatron import arguments
from simulator.cost.parameters import count_parameters
from tests.planner.export.accept import Case
from tests.planner.export.plans import PAIRS, plan_file

ROOT = Path(__file__).resolve().parents[3]
EXTRA = [ROOT / "build" / "export-targets" / name for name in ("megatron", "torchtitan")]
"""Where `scripts/export-check` puts what is too large for every run."""


def exported(target: str, name: str, folder: Path, *, check: str | None = None) -> Case:
    file = plan_file(name)
    write_export(find_exporter(target).export(file), folder)
    return Case(
        check=check or target,
        folder=str(folder),
        n_ranks=file.plan.n_ranks,
        dp=file.plan.dp,
        n_parameters=count_parameters(file.scenario.model).total,
        model=file.scenario.model.model_dump_json(),
    )


def ask(cases: list[Case], *, extra: list[Path] | None = None) -> list[str]:
    """Return the answers of one process."""
    path = os.pathsep.join(map(str, [*(extra or []), ROOT]))
    process = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("accept.py"))],
        input="".join(json.dumps(asdict(case)) + "\n" for case in cases),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": path, "PATH": os.defpath},
    )
    lines = process.stdout.splitlines()
    found = [line.removeprefix("ANSWER ") for line in lines if line.startswith("ANSWER ")]
    assert len(found) == len(cases), process.stderr
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What each target said of each export."""
    root = tmp_path_factory.mktemp("exports")
    cases = [exported(*pair, root / str(number)) for number, pair in enumerate(PAIRS)]
    return dict(zip(PAIRS, ask(cases), strict=True))


@pytest.mark.parametrize(("target", "name"), PAIRS)
def test_accepted_by_the_target(
    answers: dict[tuple[str, str], str], target: str, name: str
) -> None:
    answer = answers[target, name]
    if answer.startswith("absent"):
        pytest.skip(f"{answer}; requirements/export-targets.txt")
    assert answer == "accepted"


@pytest.mark.slow
@pytest.mark.parametrize("target", ["torchtitan", "megatron"])
def test_accepted_by_the_whole_target(target: str, tmp_path: Path) -> None:
    """torchtitan's command line and models, Megatron-LM's argument parser."""
    if not all(folder.exists() for folder in EXTRA):
        pytest.skip("needs scripts/export-check")
    names = [name for each, name in PAIRS if each == target]
    cases = [
        exported(target, name, tmp_path / str(number), check=f"{target}-whole")
        for number, name in enumerate(names)
    ]
    # Megatron's folder has a newer megatron.core than the environment.
    extra = EXTRA if target == "megatron" else EXTRA[1:]
    assert dict(zip(names, ask(cases, extra=extra), strict=True)) == dict.fromkeys(
        names, "accepted"
    )


def test_the_targets_refuse_what_does_not_fit(tmp_path: Path) -> None:
    """So that their yes means something: the same files, for another number of ranks."""
    cases = [
        Case(**(asdict(exported(target, name, tmp_path / target)) | {"n_ranks": 60, "dp": 60}))
        for target, name in (
            ("torchtitan", "fsdp x tp"),
            ("megatron", "ddp"),
            ("deepspeed", "ddp"),
            ("accelerate", "fsdp"),
            ("kubernetes", "tiny in 16 processes on nodes"),
            ("kubernetes-jobset", "tiny in 16 processes on nodes"),
            ("kubernetes-pytorchjob", "tiny in 16 processes on nodes"),
            ("slurm", "tiny in 16 processes on nodes"),
        )
    ]
    for answer in ask(cases):
        assert answer != "accepted"


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ("kubernetes", "parallelism"),
        ("kubernetes-jobset", "maxRestarts"),
        ("kubernetes-pytorchjob", "restartPolicy"),
    ],
)
def test_a_misspelt_kubernetes_field_is_refused(target: str, field: str, tmp_path: Path) -> None:
    case = exported(target, "tiny", tmp_path)
    job = tmp_path / "job.yaml"
    job.write_text(job.read_text().replace(f"{field}:", f"{field}x:"))
    (answer,) = ask([case])
    if not answer.startswith("absent"):
        assert f"{field}x" in answer


def launched(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run launch.sh with a torchrun that prints its words, one a line."""
    stub = folder / "bin" / "torchrun"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text("#!/usr/bin/env bash\nprintf '%s\\n' \"$@\"\n")
    stub.chmod(0o755)
    return subprocess.run(
        [str(folder / "launch.sh"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{stub.parent}{os.pathsep}{os.defpath}", **environment},
    )


def test_the_launch_script_hands_over_every_word(tmp_path: Path) -> None:
    exported("megatron", "moe with ep", tmp_path)
    checkout = tmp_path / "megatron lm"
    checkout.mkdir()
    (checkout / "pretrain_gpt.py").touch()
    places = {"HEAD_NODE": "node-1", "RUN_ID": "17", "MEGATRON_LM": str(checkout)}
    process = launched(tmp_path, "--lr", "3e-4", **places)
    assert process.stdout.splitlines() == [
        *("--nproc-per-node", "8", "--nnodes", "32", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "node-1:29400", "--rdzv-id", "17", f"{checkout}/pretrain_gpt.py"),
        *arguments(plan_file("moe with ep")),
        *("--lr", "3e-4"),
    ]
    process = launched(tmp_path, **places)
    assert process.returncode != 0
    assert process.stdout == ""
    assert "launch.sh: give a learning rate: --lr RATE" in process.stderr


@pytest.mark.parametrize(
    ("target", "name", "environment", "message"),
    [
        ("torchrun", "tiny in 16 processes on nodes", {}, "HEAD_NODE: name of the first node"),
        ("megatron", "ddp", {}, "MEGATRON_LM: path of a checkout of Megatron-LM"),
        (
            "megatron",
            "ddp",
            {"MEGATRON_LM": "/nowhere at all"},
            "launch.sh: no file /nowhere at all/pretrain_gpt.py: MEGATRON_LM is no checkout",
        ),
        ("deepspeed", "ddp", {}, "launch.sh: no file train.py: it is yours to write"),
    ],
)
def test_the_launch_script_says_what_it_misses(
    target: str, name: str, environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    exported(target, name, tmp_path)
    process = launched(tmp_path, **environment)
    assert process.returncode != 0
    assert process.stdout == ""
    assert message in process.stderr
