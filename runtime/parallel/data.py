"""Data parallelism: DDP, FSDP2 or both, and when they communicate.

| zero stage | gradients are reduced | weights are gathered |
|---|---|---|
| 0 | once per step (DDP) | never |
| 1 | once per step | once per step |
| 2 | every microbatch | once per step |
| 3 | every microbatch | for every forward and every backward pass |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._composable.replicate_with_fsdp import replicate
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_common import (
    FSDPMeshInfo,
    HSDPMeshInfo,
    ShardPlacementResult,
)
from torch.distributed.tensor import Shard
from torch.nn.parallel import DistributedDataParallel

from runtime.mesh import Mesh, expert_sizes
from runtime.model.transformer import Transformer
from runtime.parallel.experts import is_spread
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec

DTYPES = {
    Precision.FP32: torch.float32,
    Precision.BF16: torch.bfloat16,
}
"""Formats of the matrix products that the runtime can use."""

GRADIENT_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def gradient_dtype(job: JobSpec, precision: Precision) -> torch.dtype:
    """Return the format in which gradients are reduced: never narrower than the passes'."""
    return torch.float32 if precision is Precision.FP32 else GRADIENT_DTYPES[job.gradient_dtype]


def casts_by_policy(mesh: Mesh) -> bool:
    """Return whether data parallelism casts the weights; otherwise autocast must."""
    copies, shards = mesh.data()
    return shards is not None or (copies is not None and not _takes_ddp(mesh))


def _takes_ddp(mesh: Mesh) -> bool:
    """Return whether copies are DDP's, which does not take DTensors."""
    return not mesh.has("tp")


Placing = Callable[[nn.Parameter], ShardPlacementResult]
"""How each weight is divided, and over which ranks."""


def _sharded(
    model: Transformer, policy: MixedPrecisionPolicy, mesh: DeviceMesh, placing: Placing, stage: int
) -> None:
    units: list[nn.Module] = list(model.blocks())
    if model.embedding is not None and not (model.tied and model.head is not None):
        units.insert(0, model.embedding)
    # The head comes last in a forward and first in the backward after it: it stays in between.
    for unit in (*units, model):
        fully_shard(
            unit,
            mesh=mesh,
            mp_policy=policy,
            reshard_after_forward=stage == 3 and unit is not model,
            shard_placement_fn=placing,
        )


def _placing(mesh: Mesh, dense: DeviceMesh) -> Placing:
    """Return how weights are divided: experts among the ranks that have the same ones."""
    common = ShardPlacementResult(Shard(0), _mesh_info(dense))
    if not mesh.has("ep"):
        return lambda _: common
    _, n_copies, n_shards, _ = expert_sizes(mesh.plan)
    axes = ("expert_replicate", "expert_shard") if n_copies > 1 else ("expert_shard",)
    info = _mesh_info(mesh.experts(*axes))

    def place(weight: nn.Parameter) -> ShardPlacementResult:
        if not is_spread(weight):
            return common
        n_experts = weight.shape[0] // mesh.plan.ep
        by_width = n_experts % n_shards > 0 and weight.shape[1] % n_shards == 0
        return ShardPlacementResult(Shard(1) if by_width else Shard(0), info)

    return place


def _mesh_info(mesh: DeviceMesh) -> FSDPMeshInfo:
    if mesh.ndim == 1:
        return FSDPMeshInfo(mesh, shard_mesh_dim=0)
    return HSDPMeshInfo(mesh, shard_mesh_dim=1, replicate_mesh_dim=0)


def _replicated(model: Transformer, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    for unit in (*model.blocks(), model):
        replicate(unit, mesh=mesh, mp_policy=policy)


def _average_in_bf16(copies: dist.ProcessGroup, bucket: Any) -> torch.futures.Future[Tensor]:
    """Average a bucket of gradients in bf16. torch's own hook for that refuses to run on CPUs."""
    gradients: Tensor = bucket.buffer()
    narrow = gradients.to(torch.bfloat16).div_(copies.size())
    reduced = dist.all_reduce(narrow, group=copies, async_op=True)
    assert reduced is not None

    def widen(_: object) -> Tensor:
        return gradients.copy_(narrow)

    averaged: torch.futures.Future[Tensor] = reduced.get_future().then(widen)
    return averaged


def divide_data(model: Transformer, mesh: Mesh, job: JobSpec) -> nn.Module:
    """Return a chunk whose gradients are averaged over the ranks that have tokens of their own.

    Weights and optimizer state are divided over dp_shard and cp.
    """
    reduce_dtype = gradient_dtype(job, mesh.plan.precision)
    policy = MixedPrecisionPolicy(
        param_dtype=DTYPES[mesh.plan.precision],
        reduce_dtype=reduce_dtype,
        output_dtype=None,
    )
    copies, shards = mesh.data()
    if shards is not None:
        both = shards if copies is None else DeviceMesh._concatenate([copies, shards])
        _sharded(model, policy, both, _placing(mesh, both), mesh.plan.zero_stage)
    elif copies is not None and _takes_ddp(mesh):
        return _distributed(model, copies.get_group(), reduce_dtype)
    elif copies is not None:
        _replicated(model, copies, policy)
    return model


def _distributed(
    model: Transformer, copies: dist.ProcessGroup, reduce_dtype: torch.dtype
) -> DistributedDataParallel:
    module = DistributedDataParallel(
        model, process_group=copies, gradient_as_bucket_view=True, init_sync=False
    )
    if reduce_dtype is torch.bfloat16:
        # Not the function itself: torch compares its annotations, which are text in this file.
        hook = lambda group, bucket: _average_in_bf16(group, bucket)  # noqa: E731, PLW0108
        module.register_comm_hook(copies, hook)
    return module


@contextmanager
def communication(module: nn.Module, zero_stage: int, *, last: bool) -> Iterator[None]:
    """Have one microbatch's passes communicate as the zero stage says."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last or zero_stage >= 2)
        module.set_requires_all_reduce(last)
        module.set_reshard_after_backward(last or zero_stage == 3)
        yield
    elif isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield
