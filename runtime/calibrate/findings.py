"""What the ranks find, as they hand it to the process that started them."""

from __future__ import annotations

from pathlib import Path

from simulator.spec.base import Positive, PositiveInt, Spec
from simulator.spec.cluster import CollectiveName
from simulator.spec.kernel_table import GemmPoint
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec

FINDINGS_NAME = "findings-{rank}.json"


class CollectivePoint(Spec):
    """One measured collective."""

    operation: CollectiveName
    n_ranks: PositiveInt
    n_busy_ranks: PositiveInt
    message_bytes: PositiveInt
    time_s: Positive


class AttentionRate(Spec):
    """Fused causal attention of one rank."""

    flops_per_s: Positive
    """Forward, causal FLOPs."""
    backward_ratio: Positive
    """Time of the backward over the forward."""


class ReferencePoint(Spec):
    """One small step under one mechanism, of the slowest rank."""

    model: ModelSpec
    sequence_length: PositiveInt
    plan: PlanSpec
    n_busy_ranks: PositiveInt
    passes_s: Positive
    """Forward and backward over all microbatches, with everything that the mechanism exchanges."""
    update_s: Positive
    """Gradient norm and optimizer on one rank."""


class Findings(Spec):
    """What one rank measured with `n_busy_ranks` at work on the machine."""

    n_busy_ranks: PositiveInt
    core_share: Positive
    """Share of a core that this rank had while it multiplied."""
    gemms: tuple[GemmPoint, ...]
    attention: AttentionRate
    memory_bandwidth_bytes_per_s: Positive
    launch_s: Positive
    collectives: tuple[CollectivePoint, ...]
    references: tuple[ReferencePoint, ...]


class RankFindings(Spec):
    """All that one rank measured."""

    process_memory_bytes: Positive
    first_step_s: Positive
    """Until its first step was done, from when all ranks had met."""
    sessions: tuple[Findings, ...]
    """One for every number of busy ranks that this rank belonged to."""


def write_findings(folder: Path, rank: int, findings: RankFindings) -> None:
    """Leave a rank's findings for the launcher."""
    (folder / FINDINGS_NAME.format(rank=rank)).write_text(findings.model_dump_json())


def read_findings(folder: Path, n_ranks: int) -> list[RankFindings]:
    """Return the findings of all ranks, in rank order."""
    return [
        RankFindings.model_validate_json((folder / FINDINGS_NAME.format(rank=rank)).read_text())
        for rank in range(n_ranks)
    ]
