"""The plan: every decision that is needed to run a job on a cluster."""

from __future__ import annotations

import itertools
from typing import Self

from pydantic import Field, model_validator

from simulator.spec.base import NonNegative, PositiveInt, Precision, Spec
from simulator.spec.recompute import Recompute, RecomputeName, parse_recompute
from simulator.spec.reliability import Recovery
from simulator.spec.schedules import ScheduleName, able_with, rank_of_chunk

AXES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
"""Mesh axes from outermost to innermost; ranks count up along the last one first."""
AXES_OVER_REGIONS = ("dp_replicate", "pp", "dp_shard", "cp", "tp")
"""The same where a cluster has several regions: whole copies, so that pipelines stay inside one."""


class PlanSpec(Spec):
    """Mesh, schedule, microbatch, recompute, sharding and precision of one training.

    The mesh has the axes of `AXES`, outermost first, so that tensor-parallel neighbours are
    neighbouring ranks. Expert parallelism divides dp_shard x cp x tp.
    """

    pp: PositiveInt = 1
    dp_replicate: PositiveInt = 1
    """Data-parallel copies that only exchange gradients."""
    dp_shard: PositiveInt = 1
    """Data-parallel ranks that divide optimizer state, gradients or weights (see zero_stage)."""
    cp: PositiveInt = 1
    tp: PositiveInt = 1
    ep: PositiveInt = 1
    zero_stage: int = Field(default=0, ge=0, le=3)
    """What dp_shard divides: 0 nothing, 1 optimizer, 2 + gradients, 3 + weights."""
    sequence_parallel: bool = False
    schedule: ScheduleName = "1f1b"
    virtual_stages: PositiveInt = 1
    """Model chunks per pipeline rank."""
    microbatch_sequences: PositiveInt = 1
    n_microbatches: PositiveInt = 1
    """Microbatches of one step on one data-parallel rank (gradient accumulation included)."""
    recompute: RecomputeName = "none"
    """What a backward pass computes again: none, selective, full, every-2 (layers), first-4 (of
    every chunk), groups-of-4, Megatron's modules (layernorm+moe-act)."""
    precision: Precision = Precision.BF16
    layers_per_chunk: tuple[int, ...] = ()
    """Layers of every chunk in model order (pp x virtual_stages of them); empty means even."""
    checkpoint_interval_s: NonNegative = 0.0
    """Time between checkpoints; 0 means the optimum for the failure rate."""
    n_spare_nodes: int | None = Field(default=None, ge=0)
    """Spare nodes kept ready; unset means what the scenario says."""
    recovery: Recovery | None = None
    """What happens when nodes are missing; unset means what the scenario says."""
    isolation_groups: int | None = Field(default=None, ge=1)
    """Replica groups that fail apart under `isolate`; unset means what the scenario says."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        able = able_with(self.virtual_stages)
        if self.schedule not in able:
            raise ValueError(
                f"virtual_stages={self.virtual_stages} needs schedule {' or '.join(able)}, "
                f"not {self.schedule}"
            )
        if self.layers_per_chunk and len(self.layers_per_chunk) != self.n_chunks:
            raise ValueError(
                f"layers_per_chunk has {len(self.layers_per_chunk)} entries, and there are "
                f"pp x virtual_stages = {self.n_chunks} chunks"
            )
        if self.zero_stage == 0 and self.dp_shard > 1:
            raise ValueError(f"dp_shard={self.dp_shard} with zero_stage=0: use dp_replicate")
        if self.dp_replicate % (self.isolation_groups or 1):
            raise ValueError(
                f"isolation_groups={self.isolation_groups} does not divide dp_replicate="
                f"{self.dp_replicate}: every group holds whole copies"
            )
        if (self.dp_shard * self.cp * self.tp * self.dp_replicate) % self.ep:
            raise ValueError(
                f"ep={self.ep} does not divide dp x cp x tp = "
                f"{self.dp_replicate * self.dp_shard * self.cp * self.tp}"
            )
        return self

    @property
    def dp(self) -> int:
        """All data-parallel ranks."""
        return self.dp_replicate * self.dp_shard

    @property
    def n_ranks(self) -> int:
        """Ranks of the job."""
        return self.pp * self.dp * self.cp * self.tp

    @property
    def n_chunks(self) -> int:
        """Model pieces over all pipeline ranks."""
        return self.pp * self.virtual_stages

    @property
    def batch_sequences(self) -> int:
        """Sequences of one step."""
        return self.dp * self.microbatch_sequences * self.n_microbatches

    @property
    def recompute_kind(self) -> Recompute:
        """The kind of recompute, taken apart."""
        return parse_recompute(self.recompute)

    def chunk_layers(self, n_layers: int) -> tuple[int, ...]:
        """Return the number of layers of every chunk, in model order.

        An uneven split gives the earlier chunks one layer more.
        """
        if self.layers_per_chunk:
            return self.layers_per_chunk
        base, extra = divmod(n_layers, self.n_chunks)
        return tuple(base + (chunk < extra) for chunk in range(self.n_chunks))

    def chunks_of_rank(self, rank: int) -> tuple[int, ...]:
        """Return the chunks that a pipeline rank holds, in model order."""
        return tuple(
            chunk
            for chunk in range(self.n_chunks)
            if rank_of_chunk(self.schedule, self.pp, chunk) == rank
        )

    def label(self) -> str:
        """Return the plan in one short line: 'tp8 pp16 dp128 zero1 mb1'."""
        parts = [f"tp{self.tp}" + ("+sp" if self.sequence_parallel and self.tp > 1 else "")]
        parts.append(
            f"pp{self.pp}" + (f"x{self.virtual_stages}" if self.n_chunks > self.pp else "")
        )
        if self.dp_replicate > 1 and self.dp_shard > 1:
            parts.append(f"dp{self.dp_replicate}x{self.dp_shard}")
        else:
            parts.append(f"dp{self.dp}")
        parts += [f"cp{self.cp}"] * (self.cp > 1) + [f"ep{self.ep}"] * (self.ep > 1)
        parts += [f"zero{self.zero_stage}", f"mb{self.microbatch_sequences}"]
        if self.pp > 1 and self.schedule not in ("1f1b", "interleaved-1f1b"):
            parts.append(self.schedule)
        if self.layers_per_chunk and self.pp > 1:
            parts.append(f"layers{_runs(self.layers_per_chunk)}")
        if self.recompute != "none":
            parts.append(f"{self.recompute}-recompute")
        return " ".join(parts)


def _runs(counts: tuple[int, ...]) -> str:
    """Return numbers with equal neighbours as one: '8,7x14,6'."""
    runs = [(count, len(list(same))) for count, same in itertools.groupby(counts)]
    return ",".join(f"{count}x{n}" if n > 1 else str(count) for count, n in runs)
