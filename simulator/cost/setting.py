"""What the cost functions of one table share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from simulator.cost.kernels import Kernels, device_kernels
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.profiles import SoftwareProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Model, cluster, job, software and the plans that are priced."""

    model: ModelSpec
    cluster: ClusterSpec
    job: JobSpec
    software: SoftwareProfile
    table: PlanTable
    kernels: Kernels

    @classmethod
    def of(
        cls,
        model: ModelSpec,
        cluster: ClusterSpec,
        job: JobSpec,
        software: SoftwareProfile,
        table: PlanTable,
    ) -> Self:
        """Prepare the pricing of a table."""
        return cls(
            model=model,
            cluster=cluster,
            job=job,
            software=software,
            table=table,
            kernels=device_kernels(cluster, job, software, table),
        )

    def of_table(self, table: PlanTable) -> Self:
        """Return the same setting for other plans."""
        kernels = device_kernels(self.cluster, self.job, self.software, table)
        return replace(self, table=table, kernels=kernels)

    @property
    def tokens(self) -> FloatArray:
        """Tokens of one microbatch that a context-parallel rank holds."""
        table = self.table
        tokens: FloatArray = table.microbatch_sequences * self.job.sequence_length / table.cp
        return tokens

    @property
    def sequence_share(self) -> FloatArray:
        """Ranks that divide the parts of a layer which sequence parallelism divides."""
        table = self.table
        share: FloatArray = 1.0 + table.sequence_parallel * (table.tp - 1.0)
        return share

    @property
    def expert_tp(self) -> FloatArray:
        """Ranks that divide each expert's matrices: tp without expert parallelism, else 1."""
        table = self.table
        ranks: FloatArray = 1.0 * (table.ep == 1) * table.tp + (table.ep > 1)
        return ranks
