"""The device mesh of a plan: the one object that knows which rank stands where."""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from simulator.spec.errors import InputError
from simulator.spec.plan import AXES, PlanSpec


@dataclass(frozen=True, slots=True)
class Mesh:
    """The axes of `AXES` over the ranks of the job; axes of size 1 have no groups."""

    plan: PlanSpec
    device_type: str
    device_mesh: DeviceMesh | None

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
        names = tuple(axis for axis in AXES if getattr(plan, axis) > 1)
        if not names:
            return cls(plan, device_type, None)
        sizes = tuple(getattr(plan, axis) for axis in names)
        return cls(plan, device_type, init_device_mesh(device_type, sizes, mesh_dim_names=names))

    def has(self, axis: str) -> bool:
        """Return whether several ranks stand along an axis."""
        return bool(getattr(self.plan, axis) > 1)

    def axes(self, *axes: str) -> DeviceMesh:
        """Return the mesh of some axes, those of size 1 left out."""
        assert self.device_mesh is not None
        names = tuple(axis for axis in axes if self.has(axis))
        mesh: DeviceMesh = self.device_mesh[names]
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
