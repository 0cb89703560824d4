"""What the cost functions of one table share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from simulator.cost.groups import AxisName, Group, axis_group
from simulator.cost.kernels import Kernels, device_kernels
from simulator.cost.measured_kernels import Lookups
from simulator.cost.plan_table import FloatArray, IntArray, PlanTable
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
    factors: Mapping[AxisName, float] = field(default_factory=dict)
    """How much slower the links are for an axis than the closed form has them."""
    groups: dict[AxisName, Group] = field(default_factory=dict, repr=False, compare=False)
    """Those that were asked for; see `group`."""

    @classmethod
    def of(
        cls,
        model: ModelSpec,
        cluster: ClusterSpec,
        job: JobSpec,
        software: SoftwareProfile,
        table: PlanTable,
        lookups: Lookups | None = None,
        factors: Mapping[AxisName, float] | None = None,
    ) -> Self:
        """Prepare the pricing of a table; kernel shapes are noted in `lookups`."""
        return cls(
            model=model,
            cluster=cluster,
            job=job,
            software=software,
            table=table,
            kernels=device_kernels(cluster, job, software, table, lookups),
            factors=factors or {},
        )

    def of_table(self, table: PlanTable) -> Self:
        """Return the same setting for other plans."""
        kernels = device_kernels(self.cluster, self.job, self.software, table, self.kernels.lookups)
        return replace(self, table=table, kernels=kernels, groups={})

    def group(self, axis: AxisName) -> Group:
        """Ranks that communicate along one axis, worked out once."""
        if axis not in self.groups:
            group = axis_group(self.cluster, self.table, axis)
            self.groups[axis] = group.slower_by(self.factors.get(axis, 1.0))
        return self.groups[axis]

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
    def routed_copies(self) -> float:
        """Copies of a token that experts receive, on the busiest rank; all others wait for it."""
        moe = self.model.moe
        return moe.top_k * self.job.expert_imbalance if moe is not None else 0.0

    @property
    def expert_tp(self) -> IntArray:
        """Ranks that divide each expert's matrices."""
        return expert_tp(self.software, self.table)


def expert_tp(software: SoftwareProfile, table: PlanTable) -> IntArray:
    """Return the ranks that divide each expert's matrices.

    All tensor-parallel ones without expert parallelism; with it, where the software does so
    and there are enough other ranks to spread the experts over.
    """
    divided = table.ep == 1
    if software.splits_experts:
        divided = (table.dp * table.cp) % table.ep == 0
    return np.where(divided, table.tp, 1)
