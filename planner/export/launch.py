"""How an exported training is started: on one node, by hand on several, or by Slurm.

The nodes must see the export's folder, and nobody else their network: torch's rendezvous and
collectives neither authenticate nor encrypt.
"""

from __future__ import annotations

import shlex

from planner.export.exporter import ExportedFile, Notes, header
from simulator.spec.base import Basis
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile

PORT = 29400
LAUNCH, SBATCH = "launch.sh", "job.sbatch"
PRIVATE = "Private network only: the traffic is neither authenticated nor encrypted."


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


def torchrun_words(plan_file: PlanFile) -> list[str]:
    """Return torchrun with its options on one node, all but where several nodes meet.

    They meet at `--rdzv-endpoint HOST:PORT` under an id, `--rdzv-id`, which keeps strangers' agents
    out; it is no secret.
    """
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    words = ["torchrun", "--nproc-per-node", str(n_ranks)]
    if n_nodes == 1:
        return [*words, "--standalone"]
    return [*words, "--nnodes", str(n_nodes), "--rdzv-backend", "c10d"]


def start_command(plan_file: PlanFile, environment: str = "") -> str:
    """Return what starts the training in the export's folder: here, or where Slurm has nodes."""
    n_nodes, _ = nodes_and_ranks(plan_file)
    return f"{environment} {f'./{LAUNCH}' if n_nodes == 1 else f'sbatch {SBATCH}'}".strip()


def launch_files(
    plan_file: PlanFile,
    program: str,
    *,
    notes: Notes,
    setup: tuple[str, ...] = (),
    job_setup: tuple[str, ...] = (),
) -> tuple[ExportedFile, ...]:
    """Return launch.sh, which runs on every node, and the Slurm job that starts it there.

    `program` is shell text: what every rank runs. `setup` are lines of launch.sh before it, and
    `job_setup` of the Slurm job. They come from exporters, never from a scenario.
    """
    n_nodes, _ = nodes_and_ranks(plan_file)
    torchrun, before = shlex.join(torchrun_words(plan_file)), []
    if n_nodes > 1:
        torchrun += f' --rdzv-endpoint "$HEAD_NODE:{PORT}" --rdzv-id "$RUN_ID"'
        before = [
            f"# Start it on all {n_nodes} nodes. {PRIVATE}",
            ': "${HEAD_NODE:?name of the first node}" "${RUN_ID:?any word, the same on all}"',
        ]
    lines = [
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")"',
        *before,
        *setup,
        f'exec {torchrun} {program} "$@"',
    ]
    script = "#!/usr/bin/env bash\n" + header(plan_file, notes) + "\n".join(lines) + "\n"
    return (
        ExportedFile(LAUNCH, script, executable=True),
        ExportedFile(SBATCH, _sbatch(plan_file, notes, job_setup), executable=True),
    )


def require_file(path: str, advice: str) -> str:
    """Return a line of setup that ends with advice where a file is missing."""
    return f'[[ -f {path} ]] || {{ echo "{LAUNCH}: no file {path}: {advice}" >&2; exit 1; }}'


def known_cores(cluster: ClusterSpec, n_ranks: int) -> int | None:
    """Return the CPU cores of the ranks on one node; None where nobody said how many it has.

    Known is what was measured, what the scenario says, and what the catalog has from a data sheet.
    """
    weakest = [
        source.basis
        for source in cluster.device.sources
        if source.field in ("host", "host.n_cores")
    ]
    as_in_catalog = cluster.host == cluster.device.host and cluster.calibration is None
    if as_in_catalog and (not weakest or Basis.ASSUMED in weakest):
        return None
    return max(1, cluster.host.n_cores * n_ranks // cluster.devices_per_node)


def _sbatch(plan_file: PlanFile, notes: Notes, setup: tuple[str, ...]) -> str:
    """Return the Slurm script.

    A line that begins with #SBATCH is read to its end whatever quotes it holds, so only numbers
    and names that the schema restricts to letters, digits, dot, dash and underscore stand in one.
    """
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    cluster = plan_file.scenario.cluster
    n_cores = known_cores(cluster, n_ranks)
    options: dict[str, object] = {
        "job-name": plan_file.scenario.name,
        "nodes": n_nodes,
        "ntasks-per-node": 1,
    }
    if n_cores is not None:
        options["cpus-per-task"] = n_cores
    options["output"] = "slurm-%j.out"
    if cluster.device.name != "cpu":
        options["gpus-per-node"] = n_ranks
    lines = ["#!/usr/bin/env bash"]
    lines += [f"#SBATCH --{name}={value}" for name, value in options.items()]
    lines += ["#SBATCH --exclusive"] * (n_ranks == cluster.devices_per_node)
    lines += [
        header(plan_file, notes).rstrip("\n"),
        *_about_cores(n_cores),
        f"# Submit it in this folder. {PRIVATE}",
        "set -euo pipefail",
        'HEAD_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "export HEAD_NODE RUN_ID=$SLURM_JOB_ID",
        *setup,
        f'srun --cpus-per-task="{n_cores or _ALL_CORES}" --kill-on-bad-exit=1 ./{LAUNCH} "$@"',
    ]
    return "\n".join(lines) + "\n"


_ALL_CORES = "${SLURM_CPUS_ON_NODE:-1}"


def _about_cores(n_cores: int | None) -> tuple[str, ...]:
    if n_cores is not None:
        return ()
    return ("# How many cores a node has is not known: no --cpus-per-task, and what Slurm allots.",)
