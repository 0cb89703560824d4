"""Slurm: an sbatch script that starts torchrun on every node.

A line that begins with #SBATCH is read until its end whatever quotes it holds, so only numbers and
names that the schema restricts to letters, digits, dot, dash and underscore stand in one.
"""

from __future__ import annotations

from planner.export.exporter import Export, ExportedFile, Exporter, header
from planner.export.torchrun import (
    nodes_and_ranks,
    own_program,
    require_own_runtime,
    torchrun_command,
)
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario


def _emit(plan_file: PlanFile) -> Export:
    require_own_runtime(plan_file)
    return Export(
        target="slurm",
        files=(
            ExportedFile("plan.json", plan_file.model_dump_json(indent=2) + "\n"),
            ExportedFile("job.sbatch", sbatch_script(plan_file), executable=True),
        ),
        start="sbatch job.sbatch",
    )


def sbatch_script(plan_file: PlanFile, program: list[str] | None = None) -> str:
    """Return the script; `program` is what every rank runs, by default this product's runtime."""
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    cluster = plan_file.scenario.cluster
    options = {
        "job-name": plan_file.scenario.name,
        "nodes": n_nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": max(1, cluster.host.n_cores * n_ranks // cluster.devices_per_node),
        "output": "slurm-%j.out",
    }
    if cluster.device.name != "cpu":
        options["gpus-per-node"] = n_ranks
    if n_ranks == cluster.devices_per_node:
        options["exclusive"] = ""
    lines = ["#!/usr/bin/env bash"]
    lines += [
        f"#SBATCH --{name}" + (f"={value}" if value != "" else "")
        for name, value in options.items()
    ]
    lines += [
        header(plan_file, ()).rstrip("\n"),
        "# Private network only: the traffic is neither authenticated nor encrypted.",
        "set -euo pipefail",
        'HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "RUN_ID=$SLURM_JOB_ID",
        "export HEAD_NODE RUN_ID PYTHONSAFEPATH=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1",
        f"srun {torchrun_command(n_nodes, n_ranks, program or own_program())}",
    ]
    return "\n".join(lines) + "\n"


def _read_back(export: Export, _scenario: Scenario) -> PlanSpec:
    return PlanFile.model_validate_json(export.text("plan.json")).plan


EXPORTER = Exporter(
    name="slurm",
    description="an sbatch script with this product's own runtime",
    emit=_emit,
    read_back=_read_back,
)
