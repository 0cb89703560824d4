"""One rank's training, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from runtime.checkpoint import Checkpoints, latest
from runtime.corruption import Corruption
from runtime.data import open_batches, prefetched, prepare_data, share
from runtime.execute import ForwardBackward, forward_backward_of
from runtime.failure import RankFailure
from runtime.finite import not_finite
from runtime.mesh import Mesh
from runtime.optimizer import Update, UpdateResult
from runtime.parallel.context import held_positions
from runtime.pipeline import tied_weight
from runtime.result import StepMetrics
from runtime.run_dir import RunDir, append_event
from runtime.stage import build_stages, named_parameters
from runtime.step_profile import StepProfiler
from runtime.telemetry import MetricsLog, peak_memory_bytes
from simulator.catalog.plan_json import read_plan_file
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec, Scenario


class Stopwatch:
    """Measures laps, waiting for the device at the end of each."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last_s = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last call."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        before_s, self._last_s = self._last_s, time.perf_counter()
        return self._last_s - before_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replica:
    """What this rank holds of the model, and what it does with it."""

    weights: dict[str, nn.Parameter]
    forward_backward: ForwardBackward
    update: Update
    checkpoints: Checkpoints


def _build(scenario: Scenario, run_dir: RunDir, mesh: Mesh, device: torch.device) -> _Replica:
    """Build this rank's share; weights to begin with are read only where no checkpoint is."""
    init_from = scenario.run.init_from if latest(run_dir) is None else None
    stages = build_stages(scenario, mesh, device, init_from=init_from)
    weights = named_parameters(stages)
    update = Update(scenario, mesh, weights, tied_weight(scenario, mesh, stages))
    return _Replica(
        weights=weights,
        forward_backward=forward_backward_of(scenario, mesh, stages),
        update=update,
        checkpoints=Checkpoints(
            run_dir, weights, update.optimizer, kind=scenario.job.optimizer, seed=scenario.seed
        ),
    )


def train(plan_file: PlanFile, run_dir: RunDir, device: torch.device) -> None:
    """Train to the last step; every rank calls it."""
    scenario, plan = plan_file.scenario, plan_file.plan
    is_first_rank = dist.get_rank() == 0
    mesh = Mesh.build(plan, device.type)
    if is_first_rank:
        prepare_data(scenario, run_dir)
    dist.barrier()
    replica = _build(scenario, run_dir, mesh, device)
    steps = range(replica.checkpoints.restore(), scenario.run.steps)
    n_held = scenario.job.sequence_length // plan.cp
    held_T = held_positions(mesh.place("cp"), plan.cp, n_held, device)
    rows = share(scenario.job.batch_sequences, data_rank=mesh.data_rank, n_data_ranks=plan.dp)
    corruption = Corruption()
    profiler = StepProfiler(run_dir, mesh, every=scenario.run.profile_every_steps)
    with (
        MetricsLog(run_dir, writes=is_first_rank) as log,
        prefetched(open_batches(scenario, run_dir), rows, steps) as batches,
    ):
        append_event(run_dir, "training", rank=dist.get_rank())
        clock = Stopwatch(device)
        for step, batch in zip(steps, batches, strict=True):
            tokens = torch.from_numpy(batch).to(device)
            data_s = clock.lap()
            corruption.strike(replica.weights.values())
            with profiler.window(step + 1):
                clock.lap()
                loss = replica.forward_backward(tokens[:, held_T], tokens[:, held_T + 1])
                passes_s = clock.lap()
            clock.lap()
            result = replica.update(step, loss)
            optimizer_s = clock.lap()
            if not result.is_finite:
                raise not_finite(result, step + 1, replica.weights.values(), device)
            log.write(
                _metrics(plan_file, step + 1, result, (data_s, passes_s, optimizer_s), device)
            )
            profiler.write(step + 1, data_s=data_s, optimizer_s=optimizer_s)
            if is_checkpoint_due(scenario.run, step + 1):
                is_last = step + 1 == scenario.run.steps
                _save(replica.checkpoints, run_dir, step + 1, must_work=is_last)
                clock.lap()


def _metrics(
    plan_file: PlanFile,
    step: int,
    result: UpdateResult,
    laps_s: tuple[float, float, float],
    device: torch.device,
) -> StepMetrics:
    """Return what all ranks together say of a step; every rank calls it with its own laps.

    Laps are the wait for data, the passes and the optimizer. The first to be done with the passes
    waits longest in the optimizer, whose time is therefore that of the quickest.
    """
    data_s, passes_s, optimizer_s = laps_s
    slowest = _maximum(
        device, data_s, passes_s, -optimizer_s, sum(laps_s), peak_memory_bytes(device)
    )
    predicted = plan_file.prediction.step
    tokens_per_s = plan_file.scenario.job.batch_tokens / slowest[3]
    return StepMetrics(
        step=step,
        loss=result.loss,
        grad_norm=result.grad_norm,
        learning_rate=result.learning_rate,
        data_s=slowest[0],
        forward_backward_s=slowest[1],
        optimizer_s=-slowest[2],
        step_s=slowest[3],
        tokens_per_s=tokens_per_s,
        peak_memory_bytes=slowest[4],
        mfu=predicted.mfu / predicted.tokens_per_s * tokens_per_s,
        end_s=time.time(),
    )


def _save(checkpoints: Checkpoints, run_dir: RunDir, step: int, *, must_work: bool) -> None:
    """Save; where there is no room, go on with the checkpoint before unless this is the end."""
    try:
        checkpoints.save(step)
    except RankFailure as failure:
        if must_work or failure.cause != "full disk":
            raise
        if dist.get_rank() == 0:
            append_event(run_dir, "checkpoint-failed", rank=0, step=step, message=failure.message)


def is_checkpoint_due(run: RunSpec, steps_done: int) -> bool:
    """Return whether a checkpoint follows a step: at the end, and as often as the run says."""
    every = run.checkpoint_every_steps
    return steps_done == run.steps or (every > 0 and steps_done % every == 0)


def _maximum(device: torch.device, *values: float) -> list[float]:
    """Return the largest value over all ranks, one by one."""
    largest = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return [float(value) for value in largest.tolist()]


def local_device() -> torch.device:
    """Return this rank's GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def main(arguments: Sequence[str]) -> None:
    """Train one or more plans, one after the other, each in the run directory that it lies in."""
    for path in map(Path, arguments):
        train(read_plan_file(path), RunDir(path.parent), local_device())
