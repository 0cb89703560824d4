"""A resumed run goes on as if nothing had happened, on any mesh; bad checkpoints run nothing."""

from __future__ import annotations

import json
import pickle
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint import FileSystemReader  # type: ignore[attr-defined]

from runtime.checkpoint import Checkpoints, latest, read_state
from runtime.failure import Cause, RankFailure
from runtime.launch import run
from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.restricted_reader import METADATA_FILE, RestrictedReader, read_metadata
from runtime.result import read_metrics
from runtime.run_dir import RunDir, read_events
from runtime.worker import _save
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import RunSpec
from tests.runtime.plans import TINY, fp32, plan_file
from tests.runtime.plans_equal import DEEPSEEK

WHOLE = RunSpec(steps=6, checkpoint_every_steps=2)
FIRST_HALF = RunSpec(steps=3, checkpoint_every_steps=2)

ALONE = fp32(microbatch_sequences=8)
FSDP = fp32(dp_shard=2, zero_stage=3, microbatch_sequences=4)
TENSOR = fp32(tp=2, sequence_parallel=True, microbatch_sequences=8)
PIPELINE = fp32(pp=2, microbatch_sequences=4, n_microbatches=2)


@dataclass(frozen=True, slots=True)
class Chain:
    """Plans that go on with one run, each from where the one before stopped."""

    model: ModelSpec
    plans: tuple[PlanSpec, ...]


CHAINS = {
    "dense": Chain(TINY, (FSDP, TENSOR, PIPELINE, FSDP)),
    "experts": Chain(
        DEEPSEEK,
        (
            fp32(dp_shard=4, zero_stage=3, ep=2, n_microbatches=2),
            fp32(cp=2, dp_shard=2, zero_stage=1, ep=4, microbatch_sequences=4),
            fp32(pp=2, tp=2, sequence_parallel=True, n_microbatches=8),
            fp32(dp_replicate=2, dp_shard=2, zero_stage=3, ep=2, microbatch_sequences=2),
            fp32(cp=2, tp=2, sequence_parallel=True, ep=2, microbatch_sequences=8),
        ),
    ),
}


@pytest.mark.ranks
@pytest.mark.parametrize("name", CHAINS)
def test_a_run_goes_on_under_any_plan(tmp_path: Path, name: str) -> None:
    chain, place = CHAINS[name], RunDir(tmp_path / "run")
    n_steps = 2 * len(chain.plans)
    whole = plan_file(ALONE, model=chain.model, run=RunSpec(steps=n_steps))
    alone = run(whole, run_dir=tmp_path / "alone")
    place.root.mkdir()
    files = []
    for number, plan in enumerate(chain.plans):
        steps = RunSpec(steps=2 * (number + 1), checkpoint_every_steps=2)
        files.append(place.root / f"{number}.json")
        files[-1].write_text(plan_file(plan, model=chain.model, run=steps).model_dump_json())
    run_ranks(
        RankJob(
            module="runtime.worker",
            arguments=tuple(map(str, files)),
            n_ranks=chain.plans[0].n_ranks,
            folder=str(place.root),
        )
    )
    steps_done = read_metrics(place.metrics)
    assert [step.step for step in steps_done] == list(range(1, n_steps + 1))
    assert [step.loss for step in steps_done] == pytest.approx(alone.losses, rel=1e-5)
    norms = [step.grad_norm for step in alone.steps]
    assert [step.grad_norm for step in steps_done] == pytest.approx(norms, rel=1e-4)


@pytest.mark.ranks
def test_data_go_on_where_they_stopped_on_any_number_of_ranks(tmp_path: Path) -> None:
    """One data-parallel rank, then two, on JSONL with a damaged file, over two epochs."""
    texts = [f"{number} is followed by {number + 1}. " * 3 for number in range(8)]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (tmp_path / "good.jsonl").write_text("".join(lines))
    (tmp_path / "bad.jsonl").write_text("no JSON")
    data = RunSpec(data=str(tmp_path / "*.jsonl"), bad_shards="skip")
    # 8 documents x about 70 bytes are some 17 sequences of 32
    two = fp32(dp_replicate=2, microbatch_sequences=2)
    one = fp32(tp=2, microbatch_sequences=4)
    files = []
    for folder, plan, steps in [("whole", two, 6), ("parts", one, 3), ("parts", two, 6)]:
        (tmp_path / folder).mkdir(exist_ok=True)
        files.append(tmp_path / folder / f"{steps}.json")
        training = data.model_copy(update={"steps": steps})
        files[-1].write_text(plan_file(plan, run=training).model_dump_json())
    run_ranks(
        RankJob(
            module="runtime.worker",
            arguments=tuple(map(str, files)),
            n_ranks=2,
            folder=str(tmp_path / "whole"),
        )
    )
    whole, parts = (read_metrics(RunDir(tmp_path / name).metrics) for name in ("whole", "parts"))
    assert [step.step for step in parts] == [1, 2, 3, 4, 5, 6]
    assert [step.loss for step in parts] == pytest.approx([step.loss for step in whole], rel=1e-5)
    skipped = json.loads(RunDir(tmp_path / "parts").data.read_text())["skipped"]
    assert [each["reason"] for each in skipped] == ["line 1 is not JSON"]


@pytest.mark.ranks
def test_resumed_losses_are_the_uninterrupted_ones(tmp_path: Path) -> None:
    place = tmp_path / "run"
    whole = run(plan_file(ALONE, run=WHOLE), run_dir=tmp_path / "whole")
    run(plan_file(FSDP, run=FIRST_HALF), run_dir=place)
    result = run(plan_file(TENSOR, run=WHOLE), run_dir=place, resume=True)
    assert result.losses == pytest.approx(whole.losses, rel=1e-5)
    events = read_events(RunDir(place))
    assert [event.event for event in events if event.rank == 0].count("resume") == 1
    folder = latest(RunDir(place))
    assert folder is not None
    assert read_state(folder).step == 6
    assert sorted(path.name for path in folder.parent.glob("step-*")) == [
        "step-00000004",
        "step-00000006",
    ]


class _Marker:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def saved(tmp_path: Path, one_process_group: None) -> RunDir:
    """A checkpoint of a small model, in a run directory."""
    place = RunDir(tmp_path / "run")
    place.checkpoints.mkdir(parents=True)
    checkpoints_of(place, nn.Linear(3, 2)).save(5)
    return place


def checkpoints_of(place: RunDir, model: nn.Module) -> Checkpoints:
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    weights = dict(model.named_parameters())
    return Checkpoints(place, weights, optimizer, kind="adamw", seed=0)


def checkpoint_folder(place: RunDir) -> Path:
    folder = latest(place)
    assert folder is not None
    return folder


def rewrite(place: RunDir, **changes: object) -> None:
    """Change the metadata of a checkpoint as torch would read it."""
    folder = checkpoint_folder(place)
    metadata = FileSystemReader(folder).read_metadata()
    for name, value in changes.items():
        setattr(metadata, name, value)
    (folder / METADATA_FILE).write_bytes(pickle.dumps(metadata))


def test_good_checkpoint_is_restored(saved: RunDir) -> None:
    model = nn.Linear(3, 2)
    assert checkpoints_of(saved, model).restore() == 5


def test_metadata_that_runs_code_does_not_run(saved: RunDir, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (checkpoint_folder(saved) / METADATA_FILE).write_bytes(pickle.dumps(_Marker(marker)))
    with pytest.raises(InputError, match=r"it asks for pathlib\.Path"):
        checkpoints_of(saved, nn.Linear(3, 2)).restore()
    assert not marker.exists()


def test_code_hidden_in_good_metadata_does_not_run(saved: RunDir, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    rewrite(saved, planner_data=_Marker(marker))
    marker.unlink(missing_ok=True)
    with pytest.raises(InputError, match="it asks for"):
        read_metadata(checkpoint_folder(saved))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "missing.distcp", ""])
def test_paths_outside_the_folder_are_refused(saved: RunDir, name: str) -> None:
    (saved.root / "outside").touch()
    metadata = FileSystemReader(checkpoint_folder(saved)).read_metadata()
    for place in metadata.storage_data.values():
        place.relative_path = name
    rewrite(saved, storage_data=metadata.storage_data)
    with pytest.raises(InputError, match="there is no file"):
        read_metadata(checkpoint_folder(saved))


def test_symbolic_link_out_of_the_folder_is_refused(saved: RunDir) -> None:
    folder = checkpoint_folder(saved)
    data = next(folder.glob("*.distcp"))
    data.rename(saved.root / "outside")
    data.symlink_to(saved.root / "outside")
    with pytest.raises(InputError, match="there is no file"):
        read_metadata(folder)


def test_truncated_data_is_refused(saved: RunDir) -> None:
    data = next(checkpoint_folder(saved).glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match="shorter than it should be"):
        checkpoints_of(saved, nn.Linear(3, 2)).restore()


def test_truncated_metadata_is_refused(saved: RunDir) -> None:
    path = checkpoint_folder(saved) / METADATA_FILE
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="not a checkpoint of this program, or damaged"):
        checkpoints_of(saved, nn.Linear(3, 2)).restore()


def test_other_model_is_refused_with_the_shapes(saved: RunDir) -> None:
    with pytest.raises(InputError, match=r"weight.weight has shape \(2, 3\) .* and \(4, 3\)"):
        checkpoints_of(saved, nn.Linear(3, 4)).restore()


def test_entries_that_are_not_tensors_are_not_read(saved: RunDir) -> None:
    model = nn.Linear(3, 2, bias=True)
    folder = checkpoint_folder(saved)
    reader = RestrictedReader(folder)
    assert "weight.bias" in reader.checked.state_dict_metadata
    rewrite(saved, state_dict_metadata={"weight.weight": object.__new__(_Bytes)})
    with pytest.raises(InputError):
        checkpoints_of(saved, model).restore()


class _Bytes:
    pass


@pytest.mark.parametrize(
    "text",
    ["{}", '{"folder": "../x"}', '{"folder": "step-00000005/.."}', "[" * 100_000, "nonsense"],
)
def test_foreign_pointer_is_refused(saved: RunDir, text: str) -> None:
    (saved.checkpoints / "latest.json").write_text(text)
    with pytest.raises(InputError, match=r"damaged, or not of this program|larger than 64 KiB"):
        latest(saved)


@pytest.mark.parametrize("step", [-1, "1", None])
def test_foreign_state_is_refused(saved: RunDir, step: object) -> None:
    state = {"step": step, "seed": 0, "optimizer": "adamw"}
    (checkpoint_folder(saved) / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match="damaged, or not of this program"):
        checkpoints_of(saved, nn.Linear(3, 2)).restore()


def test_no_checkpoint_means_from_the_start(tmp_path: Path, one_process_group: None) -> None:
    assert checkpoints_of(RunDir(tmp_path), nn.Linear(3, 2)).restore() == 0


@pytest.mark.parametrize(
    ("cause", "must_work", "goes_on"),
    [("full disk", False, True), ("full disk", True, False), ("not finite", False, False)],
)
def test_only_a_full_disk_is_gone_on_from_and_not_at_the_end(
    cause: Cause, must_work: bool, goes_on: bool, tmp_path: Path, one_process_group: None
) -> None:
    checkpoints = mock.create_autospec(Checkpoints, instance=True)
    checkpoints.save.side_effect = RankFailure("no", cause=cause, rank=0)
    place = RunDir(tmp_path)
    with nullcontext() if goes_on else pytest.raises(RankFailure):
        _save(checkpoints, place, 5, must_work=must_work)
    assert [e.event for e in read_events(place)] == ["checkpoint-failed"] * goes_on


def test_another_model_is_not_the_same_run(tmp_path: Path) -> None:
    place = RunDir(tmp_path)
    first = plan_file(ALONE)
    place.plan.write_text(first.model_dump_json())
    other = plan_file(ALONE, model=TINY.model_copy(update={"n_layers": 2}))
    with pytest.raises(InputError, match="model differs from the run's"):
        run(other, run_dir=tmp_path, resume=True)
