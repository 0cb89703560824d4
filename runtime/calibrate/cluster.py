"""Measures this machine and describes it as a cluster of CPU workers."""

from __future__ import annotations

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from runtime.calibrate.findings import Findings, RankFindings, read_findings
from runtime.calibrate.fits import fit_collectives
from runtime.calibrate.solve import fit_work
from runtime.machine import Machine, this_machine
from runtime.rank_job import RankJob
from runtime.ranks import run_ranks
from runtime.run_dir import RunDir, read_events
from simulator.spec.base import NAME_PATTERN, Basis, Precision, Source
from simulator.spec.cluster import (
    Calibration,
    ClusterSpec,
    CollectiveFit,
    DeviceSpec,
    FabricSpec,
    HostSpec,
    KernelEfficiency,
    LinkSpec,
)
from simulator.spec.errors import InputError
from simulator.spec.kernel_table import GemmPoint
from simulator.spec.peaks import PeakRates

DEFAULT_RANKS = (1, 2, 4)
MAX_RANKS = 64
QUIET_SHARE = 0.9
"""Of a core; a rank that has less was disturbed."""
LOOPBACK_BYTES_PER_S = 1e9
"""Stands in for the link when only one rank was measured."""


def calibrate(
    *,
    date: str,
    ranks: tuple[int, ...] = DEFAULT_RANKS,
    quick: bool = False,
    name: str = "this-machine",
    note: Callable[[str], None] = lambda _: None,
) -> ClusterSpec:
    """Measure this machine with each number of ranks at work and return it as a cluster.

    Raises InputError for numbers of ranks that cannot be measured and for a name that cannot stand
    in a file, RunError when a rank fails.
    """
    counts = _checked(ranks)
    _require_name(name)
    machine = this_machine()
    note(f"measuring {machine.processor}, {machine.n_cores} cores, with {counts} ranks at work")
    with tempfile.TemporaryDirectory(prefix="armillary-") as folder:
        launched_s = time.time()
        run_ranks(
            RankJob(
                module="runtime.calibrate.worker",
                arguments=(folder, json.dumps(counts), "quick" if quick else "full"),
                n_ranks=counts[-1],
                folder=folder,
            )
        )
        findings = read_findings(Path(folder), counts[-1])
        met_s = max(e.time_s for e in read_events(RunDir(Path(folder))) if e.event == "ready")
    warning = _disturbance(machine, findings)
    if warning is not None:
        note(warning)
    start_s = met_s - launched_s + max(rank.first_step_s for rank in findings)
    cluster = _describe(machine, findings, date=date, name=name, start_s=start_s)
    references = [point for session in findings[0].sessions for point in session.references]
    return fit_work(cluster, references)


def _checked(ranks: tuple[int, ...]) -> tuple[int, ...]:
    counts = tuple(sorted({1, *ranks}))
    if counts[0] < 1 or counts[-1] > MAX_RANKS:
        raise InputError(
            f"cannot measure {min(ranks)} to {max(ranks)} ranks",
            where="--ranks",
            fix=f"numbers from 1 to {MAX_RANKS}",
        )
    return counts


def _require_name(name: str) -> None:
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise InputError(
            f"{name!r:.80} is not a name",
            where="--name",
            fix="take letters, digits, dots, dashes and underscores, 63 at most",
        )


def _disturbance(machine: Machine, findings: list[RankFindings]) -> str | None:
    """Return what to say where others took cores away from ranks that had one each."""
    shares = [
        session.core_share
        for rank in findings
        for session in rank.sessions
        if session.n_busy_ranks <= machine.n_cores
    ]
    least = min(shares)
    if least >= QUIET_SHARE:
        return None
    return (
        f"warning: the machine was busy, and a rank had {100 * least:.0f} % of a core; "
        "predictions will be off: measure again when it is quiet"
    )


def _describe(
    machine: Machine, findings: list[RankFindings], *, date: str, name: str, start_s: float
) -> ClusterSpec:
    sessions = _by_session(findings)
    alone = sessions[0][0]
    gemms = tuple(point for session in sessions for point in _mean_gemms(session))
    collectives = fit_collectives(
        [point for session in sessions for point in session[0].collectives]
    )
    n_devices = machine.n_cores
    peaks = {precision: _best_rate(gemms, precision) for precision in Precision}
    reference = peaks[Precision.BF16]
    link = _link(collectives)
    device = DeviceSpec(
        name="cpu",
        vendor=machine.processor,
        memory_bytes=machine.memory_bytes / n_devices,
        memory_bandwidth_bytes_per_s=alone.memory_bandwidth_bytes_per_s,
        peak=PeakRates(fp32_flops_per_s=peaks[Precision.FP32], bf16_flops_per_s=reference),
        efficiency=KernelEfficiency(
            gemm_fraction=1.0,
            gemm_wave_length=0.0,
            gemm_saturation_length=0.0,
            attention_fraction=min(1.0, alone.attention.flops_per_s / peaks[Precision.FP32]),
            attention_backward_ratio=alone.attention.backward_ratio,
            memory_fraction=1.0,
            launch_latency_s=alone.launch_s,
        ),
        devices_per_node=n_devices,
        scale_up=link,
        scale_up_domain_devices=n_devices,
        sources=(
            Source(
                field="all",
                basis=Basis.MEASURED,
                source=f"armillary calibrate on {machine.processor}",
                date=date,
            ),
        ),
    )
    return ClusterSpec(
        name=name,
        device=device,
        n_nodes=1,
        devices_per_node=n_devices,
        scale_up=link,
        scale_up_domain_devices=n_devices,
        fabric=FabricSpec(name="none", kind="none", nic=link),
        host=HostSpec(n_cores=machine.n_cores, memory_bytes=machine.memory_bytes),
        calibration=Calibration(
            date=date,
            tool_version=f"torch {version('torch')}",
            gemms=gemms,
            collectives=collectives,
            memory_bandwidth_bytes_per_s=alone.memory_bandwidth_bytes_per_s,
            shared_slowdown=_slowdown(gemms, n_at_most=len(sessions[-1])),
            process_memory_bytes=max(rank.process_memory_bytes for rank in findings),
            start_s=start_s,
        ),
    )


def _by_session(findings: list[RankFindings]) -> list[list[Findings]]:
    """Regroup: for every session, smallest first, what each of its ranks found."""
    counts = sorted({session.n_busy_ranks for rank in findings for session in rank.sessions})
    return [
        [s for rank in findings for s in rank.sessions if s.n_busy_ranks == count]
        for count in counts
    ]


def _mean_gemms(session: list[Findings]) -> list[GemmPoint]:
    """Mean over the ranks of every shape that all of them measured."""
    by_shape = [{(p.precision, p.m, p.n, p.k): p for p in rank.gemms} for rank in session]
    return [
        point.model_copy(
            update={
                "time_s": statistics.fmean(rank[shape].time_s for rank in by_shape),
                "backward_s": statistics.fmean(rank[shape].backward_s for rank in by_shape),
            }
        )
        for shape, point in by_shape[0].items()
        if all(shape in rank for rank in by_shape)
    ]


def _rate(point: GemmPoint) -> float:
    return 2.0 * point.m * point.n * point.k / point.time_s


def _best_rate(gemms: tuple[GemmPoint, ...], precision: Precision) -> float:
    """Highest rate of one rank alone; 0 for a format that was not measured."""
    return max(
        (_rate(p) for p in gemms if p.n_busy_ranks == 1 and p.precision is precision),
        default=0.0,
    )


def _slowdown(gemms: tuple[GemmPoint, ...], *, n_at_most: int) -> tuple[float, ...]:
    """Slowdown of fp32 multiplications with 1, 2, 3 ... ranks at work; linear where unmeasured."""
    import numpy as np

    times = {
        n_busy: {
            (p.m, p.n, p.k): p.time_s
            for p in gemms
            if p.n_busy_ranks == n_busy and p.precision is Precision.FP32
        }
        for n_busy in sorted({p.n_busy_ranks for p in gemms})
    }
    measured = [
        statistics.geometric_mean(
            max(1.0, seconds / times[1][shape])
            for shape, seconds in points.items()
            if shape in times[1]
        )
        for points in times.values()
    ]
    wanted = np.arange(1, n_at_most + 1)
    return tuple(float(value) for value in np.interp(wanted, list(times), measured))


def _link(collectives: tuple[CollectiveFit, ...]) -> LinkSpec:
    """The loopback as a link: what point-to-point messages of two ranks reach."""
    for fit in collectives:
        if fit.operation == "p2p" and fit.n_ranks == 2:
            return LinkSpec(
                bandwidth_bytes_per_s=fit.bandwidth_bytes_per_s,
                latency_s=fit.alpha_s,
                efficiency=1.0,
                topology="shared-memory",
            )
    return LinkSpec(
        bandwidth_bytes_per_s=LOOPBACK_BYTES_PER_S, latency_s=1e-3, topology="shared-memory"
    )
