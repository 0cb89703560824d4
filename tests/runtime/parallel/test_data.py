"""The format in which data parallelism reduces gradients."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

from runtime.mesh import Mesh
from runtime.model.transformer import Transformer, whole_model
from runtime.parallel.data import divide_data
from simulator.spec.job import JobSpec
from tests.runtime.plans import TINY, fp32


@pytest.mark.usefixtures("one_process_group")
@pytest.mark.parametrize(
    ("precision", "gradients", "is_narrow"),
    [("bf16", "bf16", True), ("bf16", "fp32", False), ("fp32", "bf16", False)],
)
def test_ddp_reduces_in_the_format_of_the_job(
    precision: str, gradients: str, is_narrow: bool
) -> None:
    plan = fp32(dp_replicate=2, precision=precision)
    world = dist.group.WORLD
    assert world is not None
    group = DeviceMesh.from_group(world, "cpu", mesh_dim_names=("dp_replicate",))
    job = JobSpec.model_validate(
        {
            "tokens": 1e6,
            "sequence_length": 8,
            "global_batch_sequences": 2,
            "precision": precision,
            "gradient_dtype": gradients,
        }
    )
    torch.manual_seed(0)
    model = divide_data(Transformer(TINY, whole_model(TINY)), Mesh(plan, "cpu", group), job)
    assert isinstance(model, DistributedDataParallel)
    tokens = torch.randint(TINY.vocab_size, (2, 8))
    model(tokens, tokens).backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(found) == len(list(model.parameters()))
    fits = [torch.equal(gradient, gradient.bfloat16().float()) for gradient in found]
    assert all(fits) if is_narrow else not all(fits)
