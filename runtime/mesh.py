"""The device mesh of a plan: the one object that knows which rank stands where."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from simulator.spec.errors import InputError
from simulator.spec.plan import AXES, PlanSpec

EXPERT_AXES = ("pp", "expert_replicate", "expert_shard", "ep")
"""Axes of experts, outermost first: expert parallelism has the innermost ranks of a stage, and the
copies of an expert are divided as other weights are (see `PlanSpec.zero_stage`)."""


def divides_states(plan: PlanSpec) -> bool:
    """Return whether data parallelism divides anything."""
    return plan.zero_stage > 0 and plan.dp_shard * plan.cp > 1


def expert_sizes(plan: PlanSpec) -> tuple[int, int, int, int]:
    """Return the number of ranks along each of `EXPERT_AXES`."""
    shards = plan.dp_shard * plan.cp * plan.tp // plan.ep if divides_states(plan) else 1
    shards = max(shards, 1)
    copies = plan.n_ranks // (plan.pp * plan.ep * shards)
    return plan.pp, copies, shards, plan.ep


@dataclass(frozen=True, slots=True)
class Mesh:
    """The axes of `AXES` over the ranks of the job; axes of size 1 have no groups."""

    plan: PlanSpec
    device_type: str
    device_mesh: DeviceMesh | None
    expert_mesh: DeviceMesh | None = None
    """The same ranks along `EXPERT_AXES`, where experts are spread."""

    @classmethod
    def build(cls, plan: PlanSpec, device_type: str) -> Mesh:
        """Return the mesh over all ranks of the job. Every rank must call it.

        Raises InputError when the plan's degrees do not multiply up to the number of ranks.
        """
        if plan.n_ranks != dist.get_world_size():
            raise InputError(
                " x ".join(f"{axis} {getattr(plan, axis)}" for axis in AXES)
                + f" = {plan.n_ranks} ranks, and the job has {dist.get_world_size()}"
            )
        spread = plan.ep > 1
        names = tuple(
            axis for axis in AXES if getattr(plan, axis) > 1 or (spread and axis == "dp_shard")
        )
        if not names:
            return cls(plan, device_type, None)
        sizes = tuple(getattr(plan, axis) for axis in names)
        return cls(
            plan,
            device_type,
            init_device_mesh(device_type, sizes, mesh_dim_names=names),
            init_device_mesh(device_type, expert_sizes(plan), mesh_dim_names=EXPERT_AXES)
            if spread
            else None,
        )

    def has(self, axis: str) -> bool:
        """Return whether several ranks stand along an axis."""
        return bool(getattr(self.plan, axis) > 1)

    def axes(self, *axes: str) -> DeviceMesh:
        """Return the mesh of some axes, those of size 1 left out."""
        assert self.device_mesh is not None
        names = tuple(axis for axis in axes if self.has(axis))
        mesh: DeviceMesh = self.device_mesh[names]
        return mesh

    def data(self) -> tuple[DeviceMesh | None, DeviceMesh | None]:
        """Return the meshes of ranks that have copies of a weight, and of those that divide it.

        Spread experts need a mesh that divides, were it over one rank: other ranks have their
        copies than those of the rest.
        """
        if divides_states(self.plan):
            return self._joined("dp_replicate"), self._joined("dp_shard", "cp")
        copies = self._joined("dp_replicate", "cp")
        if self.expert_mesh is None or self.device_mesh is None:
            return copies, None
        return copies, self.device_mesh["dp_shard"]

    def _joined(self, *axes: str) -> DeviceMesh | None:
        """Return some axes as one; None where no ranks stand along it."""
        if not any(map(self.has, axes)):
            return None
        mesh = self.axes(*axes)
        return mesh._flatten() if mesh.ndim > 1 else mesh

    def experts(self, *axes: str) -> DeviceMesh:
        """Return the mesh of some of `EXPERT_AXES`."""
        assert self.expert_mesh is not None
        mesh: DeviceMesh = self.expert_mesh[axes]
        return mesh

    def place(self, axis: str) -> int:
        """Return this rank's coordinate along an axis."""
        if self.device_mesh is None or not self.has(axis):
            return 0
        return self.device_mesh.get_local_rank(axis)

    @property
    def data_rank(self) -> int:
        """The place of this rank among the data-parallel ranks."""
        return self.place("dp_replicate") * self.plan.dp_shard + self.place("dp_shard")
