"""torchrun: the plan with this product's own runtime, on several nodes.

The nodes must see the folder of the run, and nobody else their network: torch's rendezvous and
collectives neither authenticate nor encrypt.
"""

from __future__ import annotations

import shlex

from planner.export.exporter import Export, ExportedFile, Exporter, header
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.target import OWN_TARGET, TARGETS

PORT = 29400


def require_own_runtime(plan_file: PlanFile) -> None:
    """Raise InputError when this product's runtime cannot run the plan."""
    scenario, plan = plan_file.scenario, plan_file.plan
    refusal = TARGETS[OWN_TARGET].refusal(scenario.model, scenario.job, plan)
    if refusal is not None:
        raise InputError(
            f"{refusal} ({plan.label()})",
            where="--to",
            fix=f"plan again with --target {OWN_TARGET}",
        )


def nodes_and_ranks(plan_file: PlanFile) -> tuple[int, int]:
    """Return how many nodes the plan fills, and the ranks on each.

    Raises InputError when the ranks do not fill whole nodes.
    """
    n_ranks, per_node = plan_file.plan.n_ranks, plan_file.scenario.cluster.devices_per_node
    if n_ranks <= per_node:
        return 1, n_ranks
    if n_ranks % per_node:
        raise InputError(
            f"{n_ranks} ranks do not fill nodes of {per_node} devices",
            where="--to",
            fix="set limits.devices to whole nodes and plan again",
        )
    return n_ranks // per_node, per_node


def torchrun_command(n_nodes: int, n_ranks: int, program: list[str]) -> str:
    """Return the command of one node; HEAD_NODE and RUN_ID are set by whoever starts it.

    The run id keeps strangers' agents out of the meeting; it is no secret.
    """
    if n_nodes == 1:
        meeting = ["--standalone"]
    else:
        meeting = ["--nnodes", str(n_nodes), "--rdzv-backend", "c10d"]
    words = shlex.join(["torchrun", *meeting, "--nproc-per-node", str(n_ranks)])
    if n_nodes > 1:
        words += f' --rdzv-endpoint "$HEAD_NODE:{PORT}" --rdzv-id "$RUN_ID"'
    return f"{words} {shlex.join(program)}"


def own_program() -> list[str]:
    """Return what every rank runs."""
    return ["-m", "runtime.torchrun", "plan.json", "run"]


def _emit(plan_file: PlanFile) -> Export:
    require_own_runtime(plan_file)
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    script = "#!/usr/bin/env bash\n" + header(plan_file, ())
    if n_nodes > 1:
        script += (
            "# Start it on every node; HEAD_NODE (one of them) and RUN_ID are the same on all.\n"
            "# Private network only: the traffic is neither authenticated nor encrypted.\n"
        )
    script += 'set -euo pipefail\ncd "$(dirname "${BASH_SOURCE[0]}")"\n'
    script += "export PYTHONSAFEPATH=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1\n"
    script += f"exec {torchrun_command(n_nodes, n_ranks, own_program())}\n"
    return Export(
        target="torchrun",
        files=(
            ExportedFile("plan.json", plan_file.model_dump_json(indent=2) + "\n"),
            ExportedFile("launch.sh", script, executable=True),
        ),
        start="./launch.sh",
    )


def _read_back(export: Export, _scenario: Scenario) -> PlanSpec:
    return PlanFile.model_validate_json(export.text("plan.json")).plan


EXPORTER = Exporter(
    name="torchrun",
    description="a torchrun script with this product's own runtime",
    emit=_emit,
    read_back=_read_back,
)
