"""The update: the gradient norm of the whole model, clipping, and the optimizer's step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from runtime.mesh import Mesh
from runtime.parallel.experts import is_spread
from runtime.pipeline import TiedWeight
from simulator.spec.job import JobSpec
from simulator.spec.learning import Learning
from simulator.spec.scenario import Scenario


def make_optimizer(
    parameters: Iterable[nn.Parameter], job: JobSpec, learning: Learning
) -> torch.optim.Optimizer:
    """Return the optimizer over the parameters of this rank.

    Weight decay is for matrices only. Parameters on different meshes cannot share a fused update,
    so every mesh has groups of its own.
    """
    groups: dict[tuple[bool, int], list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        mesh = hash(parameter.device_mesh) if isinstance(parameter, DTensor) else 0
        groups[parameter.dim() > 1, mesh].append(parameter)
    settings = [
        {"params": members, "weight_decay": learning.weight_decay if is_matrix else 0.0}
        for (is_matrix, _), members in groups.items()
    ]
    if job.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=learning.learning_rate, fused=True)
    return torch.optim.AdamW(
        settings,
        lr=learning.learning_rate,
        betas=(learning.adam_beta1, learning.adam_beta2),
        eps=learning.adam_epsilon,
        fused=True,
    )


def _n_copies(parameter: Tensor, mesh: Mesh) -> int:
    """Return how many ranks hold the same part of a parameter."""
    ranks_per_stage = mesh.plan.n_ranks // mesh.plan.pp
    if not isinstance(parameter, DTensor):
        return ranks_per_stage
    n_parts = 1
    for size, placement in zip(parameter.device_mesh.shape, parameter.placements, strict=True):
        n_parts *= 1 if isinstance(placement, Replicate) else size
    return ranks_per_stage // n_parts


def _local_gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What the ranks agree on after an update."""

    loss: float
    """Mean over the global batch."""
    grad_norm: float
    """Of the whole model, before clipping."""
    learning_rate: float

    @property
    def is_finite(self) -> bool:
        """Whether the weights were updated; where not, gradients are gone and they stay."""
        return math.isfinite(self.loss + self.grad_norm)


class Update:
    """One optimizer step over the parameters of this rank, with the norm of the whole model."""

    def __init__(
        self,
        scenario: Scenario,
        mesh: Mesh,
        weights: Mapping[str, nn.Parameter],
        tied: TiedWeight | None,
    ) -> None:
        self._learning = Learning.of(scenario.run)
        self._n_steps = scenario.job.n_steps
        self._n_loss_ranks = mesh.plan.n_ranks // mesh.plan.pp
        """Each loss is on all ranks of its stage, and on no rank of the others."""
        self._parameters = list(weights.values())
        self._tied = tied
        self._expert_share = mesh.plan.tp / mesh.plan.ep
        """From the mean over the copies of an expert, each with the gradients of all tokens that
        came to it, to the mean over the ranks with tokens of their own."""
        self._by_copies: dict[int, list[nn.Parameter]] = defaultdict(list)
        """Parameters by how many ranks hold the same part of them."""
        for parameter in self._parameters:
            is_tied = tied is not None and parameter is tied.weight
            self._by_copies[_n_copies(parameter, mesh) * (2 if is_tied else 1)].append(parameter)
        self.optimizer = make_optimizer(self._parameters, scenario.job, self._learning)

    def __call__(self, step: int, loss: Tensor) -> UpdateResult:
        """Update the weights in step `step` (from 0) where the gradients are finite.

        `loss` is this rank's mean.

        Every rank must call it. The gradients are gone afterwards.
        """
        self._settle_gradients()
        sums = torch.stack([self._squared_norm_share(), loss / self._n_loss_ranks])
        dist.all_reduce(sums)
        result = UpdateResult(sums[1].item(), sums[0].sqrt().item(), self._set_learning_rate(step))
        if result.is_finite:
            self._clip(result.grad_norm)
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return result

    def _settle_gradients(self) -> None:
        """Finish what the backward passes left as sums over several ranks."""
        for parameter in self._parameters:
            gradient = parameter.grad
            if (
                isinstance(parameter, DTensor)
                and isinstance(gradient, DTensor)
                and gradient.placements != parameter.placements
            ):
                parameter.grad = gradient.redistribute(placements=parameter.placements)
            if is_spread(parameter):
                _local_gradient(parameter).mul_(self._expert_share)
        if self._tied is not None:
            self._tied.add_gradients()

    def _squared_norm_share(self) -> Tensor:
        """Return this rank's share of the squared norm: the shares of all ranks add up to it."""
        shares = [
            nn.utils.get_total_norm(list(map(_local_gradient, members))).square() / n_copies
            for n_copies, members in self._by_copies.items()
        ]
        return torch.stack(shares).sum()

    def _clip(self, norm: float) -> None:
        if norm > self._learning.max_gradient_norm:
            gradients = [_local_gradient(parameter) for parameter in self._parameters]
            torch._foreach_mul_(gradients, self._learning.max_gradient_norm / norm)

    def _set_learning_rate(self, step: int) -> float:
        """Set and return the rate of a step."""
        rate = self._learning.rate(step, self._n_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate
