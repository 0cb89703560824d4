"""Runs a plan on this machine: checks it, makes the run directory, starts the ranks, reads back."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from runtime.data import prepare_data
from runtime.machine import this_machine
from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.result import RunResult, StepMetrics, metric_lines, read_metrics
from runtime.run_dir import RunDir, append_event
from runtime.supervise import Recovery, supervise
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.errors import InputError
from simulator.spec.legality import require_legal
from simulator.spec.plan_file import PlanFile
from simulator.spec.target import find_target
from simulator.spec.units import format_bytes


def run(
    plan_file: PlanFile,
    *,
    run_dir: str | Path,
    steps: int | None = None,
    resume: bool = False,
    port: int = 0,
    timeout_s: float = 300.0,
    silence_s: float = 30.0,
    on_step: Callable[[StepMetrics], None] = lambda _: None,
    recovery: Recovery | None = None,
) -> RunResult:
    """Train under a plan, with as many ranks on this machine as the plan has.

    `on_step` is called for every step as soon as it is measured. A rank that waits for another for
    `timeout_s`, or gives no sign of life for `silence_s`, counts as hung. `recovery` says what is
    done to the ranks and after a failure; by default nothing.

    Raises
    ------
    InputError
        If the plan cannot be executed here, or the run directory or port cannot be used.
    RunError
        If a rank died, hung or failed.
    """
    require_torch()
    if steps is not None:
        plan_file = _with_steps(plan_file, steps)
    require_runnable(plan_file)
    require_room(plan_file)
    place = RunDir(Path(run_dir))
    require_place(place, plan_file, resume=resume)
    _require_weights(place, plan_file)
    with _written_in(place):
        _make(place)
    n_skipped = _prepare(place, plan_file)
    with _written_in(place):
        write_plan_file(place.plan, plan_file)
    attempts = _Attempts(
        place,
        plan_file,
        _Watch(place, on_step),
        port=port,
        timeout_s=timeout_s,
        silence_s=silence_s,
    )
    supervise(plan_file, place, recovery or Recovery(), attempts)
    return RunResult(
        run_dir=place.root, steps=read_metrics(place.metrics), n_skipped_shards=n_skipped
    )


class _Attempts:
    """Starts the ranks, again and again, each time under the plan that it is told."""

    def __init__(
        self,
        place: RunDir,
        asked: PlanFile,
        watch: Callable[[], None],
        *,
        port: int,
        timeout_s: float,
        silence_s: float,
    ) -> None:
        self._place = place
        self._asked = asked
        self._watch = watch
        self._numbers = itertools.count()
        self._job = partial(
            RankJob,
            module="runtime.worker",
            folder=str(place.root.absolute()),
            port=port,
            timeout_s=timeout_s,
            silence_s=silence_s,
        )

    def __call__(self, present: PlanFile, inject: Callable[[], None]) -> None:
        number, path = next(self._numbers), self._place.plan
        if present is not self._asked:
            require_runnable(present)
            path = self._place.changed_plan(number)
            write_plan_file(path, present)
        append_event(self._place, "launch")

        def while_waiting() -> None:
            self._watch()
            inject()

        job = self._job(
            arguments=(str(path.absolute()),),
            n_ranks=present.plan.n_ranks,
            threads_per_rank=present.scenario.run.threads_per_rank,
        )
        run_ranks(job, while_waiting=while_waiting)


def require_torch() -> None:
    """Raise InputError where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise InputError(
            "running a plan needs torch, and it is not installed",
            fix="pip install 'armillary[runtime]'",
        )


def require_runnable(plan_file: PlanFile) -> None:
    """Raise InputError where this runtime cannot execute the plan."""
    scenario, plan = plan_file.scenario, plan_file.plan
    require_legal(scenario.model, scenario.job, plan, n_devices=plan.n_ranks)
    refusal = find_target("armillary").refusal(scenario.model, scenario.job, plan)
    if refusal is not None:
        raise InputError(
            f"{refusal} ({plan.label()})",
            where="plan",
            fix="plan with --target armillary, or export the plan to a framework that can",
        )


def require_room(plan_file: PlanFile) -> None:
    """Raise InputError where the tensors of all ranks are more than this machine has memory.

    A rank with a device of its own keeps them there.
    """
    stages = plan_file.prediction.step.memory
    n_ranks = plan_file.plan.n_ranks
    held_bytes = sum(stage.allocated_bytes for stage in stages) * n_ranks / len(stages)
    memory_bytes = this_machine().memory_bytes
    if held_bytes <= memory_bytes or _has_devices():
        return
    raise InputError(
        f"{n_ranks} ranks hold {format_bytes(held_bytes)}, this machine has "
        f"{format_bytes(memory_bytes)} and no GPU ({plan_file.plan.label()})",
        where="plan",
        fix="plan for this machine (--cluster cpu:2), or export the plan to where it belongs",
    )


def _has_devices() -> bool:
    import torch

    return torch.cuda.is_available()


def _with_steps(plan_file: PlanFile, steps: int) -> PlanFile:
    run_spec = plan_file.scenario.run.model_copy(update={"steps": steps})
    return plan_file.asked(plan_file.scenario.model_copy(update={"run": run_spec}))


def require_place(place: RunDir, plan_file: PlanFile, *, resume: bool) -> None:
    """Raise InputError unless the run can begin in that directory, or go on there."""
    if resume:
        require_same_question(place, plan_file)
    elif place.plan.exists():
        raise InputError(
            "there is a run here already",
            where=str(place.root),
            fix="go on with --resume, or take another run directory",
        )


def _require_weights(place: RunDir, plan_file: PlanFile) -> None:
    """Raise InputError where the run is to begin with weights that are not there or do not fit."""
    init_from = plan_file.scenario.run.init_from
    if init_from is None:
        return
    from runtime.checkpoint import latest
    from runtime.exchange.load import require_weights

    if latest(place) is None:
        require_weights(plan_file.scenario.model, Path(init_from))


def _make(place: RunDir) -> None:
    """Make the run directory and show that it can be written, before data are prepared for it."""
    place.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=place.root):
        pass


@contextmanager
def _written_in(place: RunDir) -> Iterator[None]:
    """Raise InputError where the run directory cannot be written inside."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the run directory cannot be written: {error.strerror}",
            where=str(place.root),
            fix="take another run directory",
        ) from error


def _prepare(place: RunDir, plan_file: PlanFile) -> int:
    """Make what the ranks will read; note and count what they will not."""
    manifest = prepare_data(plan_file.scenario, place)
    skipped = manifest.skipped if manifest else ()
    for shard in skipped:
        append_event(place, "skipped-shard", path=shard.path, reason=shard.reason)
    return len(skipped)


def require_same_question(place: RunDir, plan_file: PlanFile) -> None:
    """Raise InputError unless the run there trains the same model on the same batches.

    The plan may be another one: a checkpoint can be resumed on any mesh.
    """
    if not place.plan.exists():
        raise InputError(
            "there is no run to resume", where=str(place.root), fix="leave --resume out"
        )
    before, now = read_plan_file(place.plan).scenario, plan_file.scenario
    kept = {
        "model": (before.model, now.model),
        "job.sequence_length": (before.job.sequence_length, now.job.sequence_length),
        "job.batch_sequences": (before.job.batch_sequences, now.job.batch_sequences),
        "job.optimizer": (before.job.optimizer, now.job.optimizer),
        "run.data": (before.run.data, now.run.data),
        "run.tokenizer": (before.run.tokenizer, now.run.tokenizer),
        "run.text_field": (before.run.text_field, now.run.text_field),
        "seed": (before.seed, now.seed),
    }
    for field, (was, is_) in kept.items():
        if was != is_:
            raise InputError(
                f"{field} differs from the run's"
                + ("" if field == "model" else f": {is_}, and it was {was}"),
                where=str(place.plan),
                fix="resume with the same question, or take another run directory",
            )


class _Watch:
    """Hands on every step that metrics.jsonl gains from now on."""

    def __init__(self, place: RunDir, on_step: Callable[[StepMetrics], None]) -> None:
        self._lines = metric_lines(place.metrics)
        self._lines.new()  # those of runs before
        self._on_step = on_step

    def __call__(self) -> None:
        for step in self._lines.new():
            self._on_step(step)
