"""What a run refuses before it starts, and what it leaves when it has ended."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import runtime.launch
from runtime.launch import require_room, run
from runtime.machine import Machine
from runtime.result import read_metrics
from runtime.run_dir import RunDir
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.errors import InputError
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import TINY, fp32, plan_file

ALONE = fp32()


def test_without_torch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find_spec = importlib.util.find_spec

    def without_torch(name: str, *arguments: Any) -> Any:
        return None if name == "torch" else find_spec(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    with pytest.raises(InputError, match=r"pip install 'armillary\[runtime\]'"):
        run(plan_file(ALONE), run_dir=tmp_path / "run")


def test_ranks_that_hold_more_than_the_machine_are_not_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(processor="test", n_cores=2, memory_bytes=0.75 * 2**30)
    monkeypatch.setattr(runtime.launch, "this_machine", lambda: machine)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wide = plan_file(fp32(dp_replicate=16))
    with pytest.raises(InputError, match=r"16 ranks hold 1.5 GiB, this machine has 768.0 MiB"):
        run(wide, run_dir=tmp_path / "run")
    assert not list(tmp_path.iterdir())
    require_room(plan_file(ALONE))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_room(wide)


def test_launcher_does_not_import_torch() -> None:
    program = "import sys, runtime.launch; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        run(plan_file(ALONE), run_dir=tmp_path / "run")


def test_folder_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        run(plan_file(ALONE), run_dir=tmp_path / "file" / "run")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(path: Path, _content: object) -> None:
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")

    monkeypatch.setattr("runtime.launch.write_plan_file", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        run(plan_file(ALONE), run_dir=tmp_path / "run")


def test_second_run_in_the_same_folder(tmp_path: Path) -> None:
    write_plan_file(tmp_path / "plan.json", plan_file(ALONE))
    with pytest.raises(InputError, match="there is a run here already; go on with --resume"):
        run(plan_file(ALONE), run_dir=tmp_path)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run to resume"):
        run(plan_file(ALONE), run_dir=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        ({"cp": 2, "tp": 3}, "n_heads=4 is not divisible by tp=3"),
        ({"ep": 2, "dp_replicate": 2}, "the model has no experts"),
        ({"pp": 2, "dp_shard": 2, "zero_stage": 3}, "zero_stage=3 with pp=2"),
        ({"precision": "fp8"}, "precision fp8"),
    ],
)
def test_plan_that_cannot_run_here(tmp_path: Path, decisions: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(plan_file(fp32(**decisions)), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.ranks
def test_vocabulary_too_small_for_text(tmp_path: Path) -> None:
    small = TINY.model_copy(update={"vocab_size": 100})
    with pytest.raises(InputError, match=r"a vocabulary of 256 tokens, .*vocab_size is 100"):
        run(plan_file(ALONE, model=small), run_dir=tmp_path / "run")


@pytest.mark.ranks
def test_run_leaves_what_the_design_says(tmp_path: Path) -> None:
    place = RunDir(tmp_path / "run")
    seen: list[int] = []
    result = run(
        plan_file(fp32(dp_replicate=2), run=RunSpec(steps=9)),
        run_dir=place.root,
        steps=3,
        on_step=lambda step: seen.append(step.step),
    )
    assert seen == [1, 2, 3]
    assert result.steps == read_metrics(place.metrics)
    for step in result.steps:
        assert min(step.data_s, step.forward_backward_s, step.optimizer_s) > 0
        passed_s = step.forward_backward_s + step.optimizer_s
        assert passed_s <= step.step_s + 1e-9 <= passed_s + step.data_s + 0.1 * step.step_s
        assert step.tokens_per_s == pytest.approx(2 * 32 / step.step_s)
        assert 100e6 < step.peak_memory_bytes < 4e9
    assert result.steps[0].loss == pytest.approx(5.545, abs=0.05)  # ln 256
    assert read_plan_file(place.plan).scenario.run.steps == 3
    events = [json.loads(line) for line in place.events.read_text().splitlines()]
    starts = [event for event in events if event["event"] == "start"]
    assert sorted(event["rank"] for event in starts) == [0, 1]
    assert all(event["pid"] > 0 and event["time_s"] > 1.7e9 for event in starts)
    manifest = json.loads(place.data.read_text())
    assert {Path(shard["path"]).name for shard in manifest["shards"]} > {"abc.py", "zipapp.py"}
    assert all(len(shard["sha256"]) == 64 for shard in manifest["shards"])
    assert list(place.tensorboard.iterdir())
    assert (place.checkpoints / "latest.json").exists()
    assert len(result.to_frame()) == 3


@pytest.mark.ranks
def test_bf16_trains_close_to_fp32(tmp_path: Path) -> None:
    wide = run(plan_file(fp32(microbatch_sequences=4)), run_dir=tmp_path / "fp32")
    narrow = run(
        plan_file(fp32(microbatch_sequences=4, precision="bf16")), run_dir=tmp_path / "bf16"
    )
    assert narrow.losses != wide.losses
    assert narrow.losses == pytest.approx(wide.losses, rel=2e-3)
