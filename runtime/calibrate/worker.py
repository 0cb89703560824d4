"""What one rank of a calibration does, top to bottom.

One launch holds as many ranks as the largest session; in the smaller sessions the others wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from runtime.calibrate.collectives import measure_collectives
from runtime.calibrate.findings import (
    CollectivePoint,
    Findings,
    RankFindings,
    write_findings,
)
from runtime.calibrate.kernels import (
    FULL_SHAPES,
    QUICK_SHAPES,
    GemmShape,
    measure_attention,
    measure_gemms,
    measure_launch,
    measure_memory_bandwidth,
)
from runtime.calibrate.reference import alone, measure_references, run_once, together
from runtime.calibrate.timing import Together
from runtime.data import open_batches, prepare_data
from runtime.run_dir import RunDir
from runtime.telemetry import MetricsLog, peak_memory_bytes

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured, and for how long."""

    shapes: tuple[GemmShape, ...]
    sizes_bytes: tuple[int, ...]
    """Of collectives."""
    window_s: float
    """For one call."""
    references_s: float
    """For all the reference steps of one group."""


QUICK = Effort(
    shapes=QUICK_SHAPES,
    sizes_bytes=(16 * KIB, 256 * KIB, 2 * MIB, 16 * MIB),
    window_s=0.04,
    references_s=1.5,
)
FULL = Effort(
    shapes=FULL_SHAPES,
    sizes_bytes=(4 * KIB, 64 * KIB, 256 * KIB, 1 * MIB, 4 * MIB, 16 * MIB, 64 * MIB),
    window_s=0.1,
    references_s=10.0,
)


def main(arguments: Sequence[str]) -> None:
    """Measure with each number of ranks at work and leave the findings in the job's folder."""
    folder, counts, quick = Path(arguments[0]), json.loads(arguments[1]), arguments[2] == "quick"
    torch.manual_seed(0)
    rank = dist.get_rank()
    begin = time.perf_counter()
    bare_bytes = _bare_rank_bytes(folder)
    first_step_s = time.perf_counter() - begin
    sessions: list[Findings] = []
    for count in counts:
        groups = {
            size: _groups_of(size, count) for size in sorted({1, 2, count}) if count % size == 0
        }
        if rank < count:
            sessions.append(_measure(groups, count, quick=quick))
        dist.barrier()
    write_findings(
        folder,
        rank,
        RankFindings(
            process_memory_bytes=bare_bytes, first_step_s=first_step_s, sessions=tuple(sessions)
        ),
    )


def _bare_rank_bytes(folder: Path) -> float:
    """Return the most that a rank holds when it trains next to nothing: one small step.

    Libraries, text and logs are what a training rank has; every rank keeps its own log here.
    """
    import runtime.worker  # noqa: F401  what a training rank imports

    reference = alone()[0]
    place = RunDir(folder / f"bare-{dist.get_rank()}")
    place.root.mkdir()
    prepare_data(reference.scenario, place)
    open_batches(reference.scenario, place)(0, range(1))
    with MetricsLog(place, writes=True):
        run_once(reference)
    dist.all_reduce(torch.zeros(4))
    return peak_memory_bytes(torch.device("cpu"))


def _groups_of(size: int, n_ranks: int) -> dist.ProcessGroup:
    """Return this rank's group of neighbours among the first n ranks; all ranks must call it.

    Ranks beyond them get the world, and must not use it.
    """
    own = dist.group.WORLD
    assert own is not None
    for first in range(0, n_ranks, size):
        members = list(range(first, first + size))
        group = dist.new_group(members)
        if dist.get_rank() in members:
            own = group
    return own


def _measure(groups: dict[int, dist.ProcessGroup], n_busy: int, *, quick: bool) -> Findings:
    effort = QUICK if quick else FULL
    window_s = effort.window_s
    ranks = Together(groups[n_busy], n_busy)
    ranks.meet()
    begin_s, begin_core_s = time.perf_counter(), time.process_time()
    gemms = measure_gemms(effort.shapes, n_busy, window_s=window_s)
    core_share = (time.process_time() - begin_core_s) / (time.perf_counter() - begin_s)
    attention = measure_attention(window_s=2 * window_s)
    bandwidth = measure_memory_bandwidth(window_s=2 * window_s)
    launch_s = measure_launch(window_s=window_s)
    references = measure_references(alone(), ranks, None, window_s=effort.references_s)
    collectives: list[CollectivePoint] = []
    for size, group in groups.items():
        if size > 1:
            collectives += measure_collectives(
                effort.sizes_bytes, group, size, ranks, window_s=window_s
            )
            references += measure_references(
                together(size), ranks, group, window_s=effort.references_s
            )
    return Findings(
        n_busy_ranks=n_busy,
        core_share=core_share,
        gemms=tuple(gemms),
        attention=attention,
        memory_bandwidth_bytes_per_s=bandwidth,
        launch_s=launch_s,
        collectives=tuple(collectives),
        references=tuple(references),
    )
