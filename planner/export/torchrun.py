"""torchrun and Slurm: the plan with this product's own runtime."""

from __future__ import annotations

from planner.export.exporter import Export, ExportedFile, Exporter
from planner.export.launch import launch_files, start_command
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


def own_program(plan: str, run_dir: str) -> list[str]:
    """Return what every rank runs."""
    return ["-m", "runtime.torchrun", plan, run_dir]


def _emit(plan_file: PlanFile, target: str, start: str) -> Export:
    program = " ".join(own_program(PLAN, RUN))
    return Export(
        target=target,
        files=(
            ExportedFile(PLAN, plan_file.model_dump_json(indent=2) + "\n"),
            *launch_files(plan_file, program, setup=_SETUP, job_setup=_GO_ON),
        ),
        start=start,
    )


def read_own_plan(export: Export, _scenario: Scenario) -> PlanSpec:
    """Return the plan of the plan file that is among the files."""
    return PlanFile.model_validate_json(export.text(PLAN)).plan


EXPORTERS = (
    Exporter(
        name="torchrun",
        description="a torchrun script with this product's own runtime",
        executor=OWN_TARGET,
        emit=lambda plan_file: _emit(plan_file, "torchrun", start_command(plan_file)),
        read_back=read_own_plan,
    ),
    Exporter(
        name="slurm",
        description="an sbatch script with this product's own runtime",
        executor=OWN_TARGET,
        emit=lambda plan_file: _emit(plan_file, "slurm", "sbatch job.sbatch"),
        read_back=read_own_plan,
    ),
)
