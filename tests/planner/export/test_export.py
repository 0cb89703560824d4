"""Exports: there and back again, accepted by the target's own code, refused where they'd lie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from armillary.exporting import write_export
from planner.export import EXPORTERS, find_exporter
from simulator.spec.errors import InputError
from tests.planner.export.plans import PLANS, plan_file

PAIRS = [
    ("torchtitan", name)
    for name in (
        "ddp",
        "fsdp",
        "hsdp",
        "fsdp x tp",
        "zero2 x tp x pp, interleaved, uneven",
        "cp",
        "moe with ep, fsdp",
    )
]
PAIRS += [
    ("megatron", name)
    for name in (
        "ddp",
        "zero1 x tp x pp",
        "zero1 x tp x pp, interleaved",
        "zero1 x pp, uneven",
        "megatron cp, two optimizer instances",
        "moe with ep",
        "mixtral",
        "gpt x zero1 x pp",
    )
]
PAIRS += [
    ("deepspeed", name) for name in ("ddp", "fsdp", "gpt x zero2", "gpt x zero1 x pp", "tiny")
]
PAIRS += [
    (target, name)
    for target in ("torchrun", "slurm")
    for name in ("tiny", "tiny in 16 processes on nodes")
]


@pytest.mark.parametrize(("target", "name"), PAIRS)
def test_there_and_back_again(target: str, name: str) -> None:
    file = plan_file(name)
    exporter = find_exporter(target)
    found = exporter.read_back(exporter.export(file), file.scenario)
    assert found == file.plan


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What each target said of each export, from one process."""
    root = tmp_path_factory.mktemp("exports")
    cases = []
    for number, (target, name) in enumerate(PAIRS):
        file = plan_file(name)
        write_export(find_exporter(target).export(file), root / str(number))
        cases.append(
            {
                "target": target,
                "folder": str(root / str(number)),
                "n_ranks": file.plan.n_ranks,
                "dp": file.plan.dp,
            }
        )
    return dict(zip(PAIRS, ask(cases), strict=True))


def ask(cases: list[dict[str, Any]]) -> list[str]:
    process = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("accept.py"))],
        input="".join(json.dumps(case) + "\n" for case in cases),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "PATH": "/usr/bin:/bin"},
    )
    found = [
        line.removeprefix("ANSWER ")
        for line in process.stdout.splitlines()
        if line.startswith("ANSWER ")
    ]
    assert len(found) == len(cases), process.stderr
    return found


@pytest.mark.parametrize(("target", "name"), PAIRS)
def test_accepted_by_the_target(
    answers: dict[tuple[str, str], str], target: str, name: str
) -> None:
    answer = answers[target, name]
    if answer.startswith("absent"):
        pytest.skip(f"{answer}; requirements/export-targets.txt")
    assert answer == "accepted"


def test_the_targets_refuse_what_does_not_fit(tmp_path: Path) -> None:
    """So that their yes means something: the same files, for another number of ranks."""
    cases = []
    for target, name in (("torchtitan", "fsdp x tp"), ("megatron", "ddp"), ("deepspeed", "ddp")):
        file = plan_file(name)
        write_export(find_exporter(target).export(file), tmp_path / target)
        cases.append({"target": target, "folder": str(tmp_path / target), "n_ranks": 60, "dp": 60})
    for answer in ask(cases):
        if not answer.startswith("absent"):
            assert answer != "accepted"


@pytest.mark.parametrize(
    ("target", "name", "changes", "message"),
    [
        # What torchtitan's ParallelDims lets through.
        ("torchtitan", "moe with ep, fsdp", {"dp_replicate": 64, "dp_shard": 1, "zero_stage": 0},
         "ep=8 does not divide dp_shard x cp x tp = 1"),
        ("torchtitan", "cp", {"dp_shard": 1, "zero_stage": 0},
         "cp > 1 with zero_stage=0"),
        ("torchtitan", "fsdp", {"zero_stage": 1}, "torchtitan cannot run zero_stage=1"),
        ("torchtitan", "gpt x zero2", {}, "torchtitan's registry has no gpt3-175b"),
        # What Megatron's TransformerConfig lets through.
        ("megatron", "mixtral", {"ep": 16},
         "n_experts=8 is not divisible by ep=16"),
        ("megatron", "zero1 x tp x pp", {"pp": 5}, "= 80 ranks, and the cluster has 64 devices"),
        ("megatron", "fsdp", {}, "megatron cannot run zero_stage=3"),
        ("megatron", "mixtral", {"sequence_parallel": False}, "experts under tp without"),
        # What DeepSpeed's JSON cannot say.
        ("deepspeed", "fsdp x tp", {}, "deepspeed cannot run sequence_parallel"),
        ("deepspeed", "mixtral", {"sequence_parallel": False}, "deepspeed cannot run ep=8"),
        ("deepspeed", "hsdp", {"recompute": "none"}, "dp_replicate and dp_shard together"),
        ("torchrun", "mixtral", {}, "armillary cannot run mixture-of-experts"),
        ("slurm", "cp", {}, "armillary cannot run cp=4"),
    ],
)  # fmt: skip
def test_refused(target: str, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_exporter(target).export(plan_file(name, **changes))


def test_unknown_targets_are_told_near_names() -> None:
    with pytest.raises(InputError, match="did you mean megatron"):
        find_exporter("megatorn")


def test_deepspeed_keys_are_its_own() -> None:
    """DeepSpeed does not check its top-level keys, so they are compared with its documentation."""
    known = {
        "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
        "gradient_clipping", "optimizer", "zero_optimization", "bf16", "fp16",
        "communication_data_type", "tensor_parallel", "pipeline", "activation_checkpointing",
    }  # fmt: skip
    for target, name in PAIRS:
        if target == "deepspeed":
            export = find_exporter(target).export(plan_file(name))
            assert json.loads(export.text("ds_config.json")).keys() <= known


def test_no_line_is_built_from_free_text() -> None:
    """The scenario's name reaches an #SBATCH line, so the schema must keep it to safe letters."""
    file = plan_file("tiny")
    with pytest.raises(ValueError, match="pattern"):
        type(file.scenario).model_validate(file.scenario.model_dump() | {"name": "x\nrm -rf /"})
    export = find_exporter("slurm").export(file)
    head = [line for line in export.text("job.sbatch").splitlines() if line.startswith("#SBATCH")]
    assert head[0] == f"#SBATCH --job-name={file.scenario.name}"
    assert f"#SBATCH --nodes={1}" in head


def test_every_plan_is_used() -> None:
    assert {name for _, name in PAIRS} == set(PLANS)
    assert {target for target, _ in PAIRS} == set(EXPORTERS)


@pytest.mark.parametrize("version", ["1.0\ntouch /tmp/x", "1.0 ; x", "", "$(x)"])
def test_a_version_cannot_become_a_line_of_a_script(version: str) -> None:
    """It stands in the header of every exported script, and a plan file is a stranger's."""
    provenance = plan_file("tiny").provenance
    with pytest.raises(ValueError, match="pattern"):
        type(provenance).model_validate(provenance.model_dump() | {"armillary_version": version})
