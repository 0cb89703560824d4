"""Checkpoints: weights and optimizer by torch.distributed.checkpoint, the rest in JSON beside them.

Tensors go by the names of the whole model, so a checkpoint can be resumed under another plan: any
mesh, any pipeline. The batches and the initial weights follow from seed and step, so there is no
random state to keep. `latest.json` names the last whole checkpoint and is replaced by renaming, so
that a run that dies while saving still has the one before.

    checkpoints/latest.json, step-00000020/{.metadata, __0_0.distcp, ..., state.json}
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from pydantic import Field, ValidationError
from torch import Tensor, nn
from torch.distributed.checkpoint import FileSystemWriter  # type: ignore[attr-defined]
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from runtime.failure import RankFailure
from runtime.finite import first_spoilt_rank
from runtime.restricted_reader import (
    RestrictedReader,
    TensorsOnlyPlanner,
    read_metadata,
    require_tensors,
)
from runtime.run_dir import RunDir, append_event
from simulator.spec.base import Spec
from simulator.spec.errors import InputError
from simulator.spec.files import read_text, write_atomic

KEPT = 2
"""How many of the last checkpoints stay."""

MOMENTS = {"adamw": ("exp_avg", "exp_avg_sq"), "sgd": ()}
"""The tensors that an optimizer keeps for every weight."""

_SIDECAR = "state.json"
_STATE_LIMIT_BYTES = 2**16


class State(Spec):
    """What is not a tensor."""

    step: int = Field(ge=0)
    """Steps done."""
    seed: int
    optimizer: str


class Latest(Spec):
    """The pointer to the last whole checkpoint."""

    folder: str = Field(pattern=r"^step-[0-9]{8}$")


SpecT = TypeVar("SpecT", bound=Spec)


def _read(kind: type[SpecT], path: Path) -> SpecT:
    text = read_text(path, limit_bytes=_STATE_LIMIT_BYTES)
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError:
        raise InputError(
            "damaged, or not of this program",
            where=str(path),
            fix="start again in a new run directory, or repair it",
        ) from None


def latest(run_dir: RunDir) -> Path | None:
    """Return the folder of the last whole checkpoint; None where there is none."""
    pointer = run_dir.checkpoints / "latest.json"
    if not pointer.exists():
        return None
    return run_dir.checkpoints / _read(Latest, pointer).folder


def read_state(folder: Path) -> State:
    """Return a checkpoint's sidecar. Raises InputError where it is missing or foreign."""
    return _read(State, folder / _SIDECAR)


class Checkpoints:
    """Saves and restores the weights and optimizer state of a run; every rank has one."""

    def __init__(
        self,
        run_dir: RunDir,
        weights: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        kind: str,
        seed: int,
    ) -> None:
        self._run_dir = run_dir
        self._weights = weights
        self._optimizer = optimizer
        self._kind = kind
        self._seed = seed

    def save(self, step: int) -> None:
        """Save the state after `step` steps; every rank calls it."""
        start_s = time.perf_counter()
        folder = self._run_dir.checkpoints / f"step-{step:08}"
        self._require_finite(step)
        self._on_first_rank(step, lambda: self._begin(folder, step))
        try:
            save(self._tensors(), storage_writer=FileSystemWriter(folder))
        except CheckpointException as error:  # not an Exception
            if dist.get_rank() == 0:
                shutil.rmtree(folder, ignore_errors=True)
            rank, failure = min(error.failures.items())
            raise self._unwritten(step, str(failure[0]), rank) from None
        self._on_first_rank(step, lambda: self._end(folder, step, start_s))

    def _require_finite(self, step: int) -> None:
        """Raise RankFailure on every rank where one would save what nobody can go on from."""
        device = next(iter(self._weights.values())).device
        rank = first_spoilt_rank(self._weights.values(), device)
        if rank is not None:
            raise RankFailure(
                f"weights of rank {rank} are not finite after step {step}: not saved",
                cause="not finite",
                rank=rank,
            )

    def _on_first_rank(self, step: int, act: Callable[[], None]) -> None:
        """Let the first rank act while the others wait. Raises RankFailure on all if it cannot."""
        reason: list[str | None] = [None]
        if dist.get_rank() == 0:
            try:
                act()
            except OSError as error:
                reason = [str(error)]
        dist.broadcast_object_list(reason)
        if reason[0] is not None:
            raise self._unwritten(step, reason[0], 0)

    def _unwritten(self, step: int, reason: str, rank: int) -> RankFailure:
        root = self._run_dir.root
        return RankFailure(
            f"the checkpoint of step {step} could not be written: {reason}",
            cause="full disk",
            rank=rank,
            where=str(self._run_dir.checkpoints),
            fix=f"make room, and go on with --resume from {root}",
        )

    def _begin(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = State(step=step, seed=self._seed, optimizer=self._kind)
        write_atomic(folder / _SIDECAR, state.model_dump_json())

    def _end(self, folder: Path, step: int, start_s: float) -> None:
        pointer = Latest(folder=folder.name)
        write_atomic(self._run_dir.checkpoints / "latest.json", pointer.model_dump_json())
        self._remove_old(step)
        seconds = time.perf_counter() - start_s
        append_event(self._run_dir, "checkpoint", rank=0, step=step, duration_s=seconds)

    def restore(self) -> int:
        """Load the last whole checkpoint, and return the steps done; 0 where there is none."""
        folder = latest(self._run_dir)
        if folder is None:
            return 0
        state = read_state(folder)
        if state.optimizer != self._kind:
            raise InputError(
                f"the checkpoint is of optimizer {state.optimizer!r:.40}, and the job has "
                f"{self._kind}",
                where=str(folder),
            )
        self._make_optimizer_state(state.step)
        tensors = self._tensors()
        require_tensors(
            folder, read_metadata(folder), {name: value.shape for name, value in tensors.items()}
        )
        try:
            load(tensors, storage_reader=RestrictedReader(folder), planner=TensorsOnlyPlanner())
        except CheckpointException as error:  # not an Exception
            reason = next(iter(error.failures.values()))[0]
            raise InputError(f"cannot be loaded: {reason}", where=str(folder)) from None
        append_event(self._run_dir, "resume", rank=dist.get_rank(), step=state.step)
        return state.step

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors to save or to load into, by flat name."""
        tensors: dict[str, Tensor] = {}
        for name, weight in self._weights.items():
            tensors[f"weight.{name}"] = weight.detach()
            for moment in MOMENTS[self._kind]:
                tensors[f"{moment}.{name}"] = self._optimizer.state[weight][moment]
        return tensors

    def _make_optimizer_state(self, step: int) -> None:
        """Give every weight the state that the optimizer would have made in its first step."""
        for weight in self._weights.values():
            state = self._optimizer.state[weight]
            for moment in MOMENTS[self._kind]:
                state[moment] = torch.zeros_like(weight)
            if state:
                state["step"] = torch.tensor(float(step), device=weight.device)

    def _remove_old(self, step: int) -> None:
        saved = sorted(self._run_dir.checkpoints.glob("step-*"))
        done = [path for path in saved if path.name <= f"step-{step:08}"]
        for folder in done[:-KEPT]:
            shutil.rmtree(folder)
