"""Data parallelism: DDP, FSDP2 or both, and when they communicate.

| zero stage | gradients are reduced | weights are gathered |
|---|---|---|
| 0 | once per step (DDP) | never |
| 1 | once per step | once per step |
| 2 | every microbatch | once per step |
| 3 | every microbatch | for every forward and every backward pass |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._composable.replicate_with_fsdp import replicate
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from runtime.mesh import Mesh
from runtime.model.transformer import Transformer
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
    return mesh.has("dp_shard") or (mesh.has("dp_replicate") and mesh.has("tp"))


def _sharded(model: Transformer, mesh: Mesh, policy: MixedPrecisionPolicy) -> nn.Module:
    data_mesh = mesh.axes("dp_replicate", "dp_shard")
    reshard = mesh.plan.zero_stage == 3
    units: list[nn.Module] = list(model.blocks())
    if model.embedding is not None and not (model.tied and model.head is not None):
        units.insert(0, model.embedding)
    for unit in units:
        fully_shard(unit, mesh=data_mesh, mp_policy=policy, reshard_after_forward=reshard)
    # The head comes last in a forward and first in the backward after it: it stays in between.
    fully_shard(model, mesh=data_mesh, mp_policy=policy, reshard_after_forward=False)
    return model


def _replicated(model: Transformer, mesh: Mesh, policy: MixedPrecisionPolicy) -> nn.Module:
    data_mesh = mesh.axes("dp_replicate")
    for unit in (*model.blocks(), model):
        replicate(unit, mesh=data_mesh, mp_policy=policy)
    return model


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
    """Return a chunk whose gradients are averaged over the data-parallel ranks.

    Weights and optimizer state are divided over dp_shard. Copies under tensor parallelism use
    torch's `replicate`, since DDP does not take DTensors.
    """
    reduce_dtype = gradient_dtype(job, mesh.plan.precision)
    policy = MixedPrecisionPolicy(
        param_dtype=DTYPES[mesh.plan.precision],
        reduce_dtype=reduce_dtype,
        output_dtype=None,
    )
    if mesh.has("dp_shard"):
        return _sharded(model, mesh, policy)
    if not mesh.has("dp_replicate"):
        return model
    if mesh.has("tp"):
        return _replicated(model, mesh, policy)
    copies = mesh.axes("dp_replicate").get_group()
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
