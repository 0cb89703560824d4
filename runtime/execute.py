"""One step's forward and backward passes over this rank's microbatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.tensor.parallel import loss_parallel

from runtime.mesh import Mesh
from runtime.parallel.data import DTYPES, casts_by_policy, communication
from runtime.parallel.tensor import divides_loss
from runtime.pipeline import Pipeline
from runtime.stage import Stage
from simulator.spec.scenario import Scenario

ForwardBackward = Callable[[Tensor, Tensor], Tensor]
"""Tokens and targets (B, T) of this rank's sequences to their mean loss; gradients are left on the
parameters. A rank without the end of the model returns 0."""


def forward_backward_of(scenario: Scenario, mesh: Mesh, stages: list[Stage]) -> ForwardBackward:
    """Return what runs the passes of one step: a pipeline, or microbatches one after the other."""
    if mesh.has("pp"):
        passes: ForwardBackward = Pipeline(scenario, mesh, stages)
    else:
        passes = Accumulation(mesh, stages[0])
    device_type = mesh.device_type
    dtype = DTYPES[mesh.plan.precision]
    autocasts = dtype is not torch.float32 and not casts_by_policy(mesh)

    def run(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with (
            torch.autocast(device_type, dtype=dtype, enabled=autocasts),
            _divided_loss(divides_loss(scenario.model, mesh.plan)),
        ):
            return passes(tokens_BT, targets_BT)

    return run


@contextmanager
def _divided_loss(divided: bool) -> Iterator[None]:
    if divided:
        with loss_parallel():
            yield
    else:
        yield


class Accumulation:
    """Microbatches one after the other, their gradients added up."""

    def __init__(self, mesh: Mesh, stage: Stage) -> None:
        self._module = stage.module
        self._plan = mesh.plan

    def __call__(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        n = self._plan.n_microbatches
        total = torch.zeros((), device=tokens_BT.device)
        for index, (tokens, targets) in enumerate(
            zip(tokens_BT.chunk(n), targets_BT.chunk(n), strict=True), start=1
        ):
            with communication(self._module, self._plan.zero_stage, last=index == n):
                loss = self._module(tokens, targets)
                loss.backward()
            total += loss.detach()
        return total
