"""torchrun and Slurm: the plan with this product's own runtime."""

from __future__ import annotations

from dataclasses import fields

from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    Notes,
    applying,
    saves_behind_training,
    steps_between_checkpoints,
    unset,
)
from planner.export.launch import launch_files, start_command
from simulator.spec.learning import Learning
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET

PLAN, RUN, RESUME = "plan.json", "run", "--resume"
_GO_ON = (
    "# A job that Slurm starts again goes on; where nothing was begun, it begins.",
    f'if [[ ${{SLURM_RESTART_COUNT:-0}} -gt 0 && -e {RUN}/{PLAN} ]]; then set -- {RESUME} "$@"; fi',
)
_SETUP = ("export PYTHONSAFEPATH=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",)


_OTHERWISE = {each.name: f"{each.default}, of armillary run" for each in fields(Learning)}


def own_notes(plan_file: PlanFile) -> Notes:
    """Return what a user of our own runtime must know."""
    run, moe = plan_file.scenario.run, plan_file.scenario.model.moe
    balancing = moe.load_balancing if moe else None
    stand_in = {"text": "text of Python's own library", "random": "random tokens"}.get(
        run.data_built_in or ""
    )
    return Notes(
        dropped=applying(
            (
                balancing in ("aux-loss", "global-aux-loss"),
                f"load_balancing {balancing}: armillary run takes the loss over each sequence",
            ),
            (
                saves_behind_training(plan_file.scenario),
                "asynchronous saves, as the prediction has them: armillary run waits for the write",
            ),
        ),
        to_set=unset(plan_file.scenario, _OTHERWISE),
        needs=(
            f"data of yours in place of {stand_in} (run.data={run.data}), which all else trains on"
            if stand_in
            else f"the files of run.data ({', '.join(run.data_places)}) under the same paths",
        ),
    )


def whole_job(plan_file: PlanFile) -> PlanFile:
    """Return the plan alone, to be trained to the end of the job.

    `armillary run` tries a few steps; an export is for all of them, with checkpoints as planned.
    """
    scenario = plan_file.scenario
    every = scenario.run.checkpoint_every_steps or steps_between_checkpoints(plan_file)
    steps = {"steps": scenario.job.n_steps, "checkpoint_every_steps": every}
    run = scenario.run.model_copy(update=steps)
    whole = plan_file.asked(scenario.model_copy(update={"run": run}))
    return whole.model_copy(update={"alternatives": ()})


def own_program(plan: str, run_dir: str) -> list[str]:
    """Return what every rank runs."""
    return ["-m", "runtime.torchrun", plan, run_dir]


def _emit(plan_file: PlanFile, target: str, start: str) -> Export:
    program, notes = " ".join(own_program(PLAN, RUN)), own_notes(plan_file)
    return Export(
        target=target,
        files=(
            ExportedFile(PLAN, whole_job(plan_file).model_dump_json(indent=2) + "\n"),
            *launch_files(plan_file, program, notes=notes, setup=_SETUP, job_setup=_GO_ON),
        ),
        notes=notes,
        start=start,
    )


def read_own_plan(export: Export, _scenario: Scenario) -> PlanSpec:
    """Return the plan of the plan file that is among the files."""
    return PlanFile.model_validate_json(export.text(PLAN)).plan


EXPORTERS = (
    Exporter(
        name="torchrun",
        description="a torchrun script with our own runtime",
        executor=OWN_TARGET,
        emit=lambda plan_file: _emit(plan_file, "torchrun", start_command(plan_file)),
        read_back=read_own_plan,
    ),
    Exporter(
        name="slurm",
        description="an sbatch script with our own runtime",
        executor=OWN_TARGET,
        emit=lambda plan_file: _emit(plan_file, "slurm", "sbatch job.sbatch"),
        read_back=read_own_plan,
    ),
)
