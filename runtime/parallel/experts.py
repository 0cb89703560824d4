"""Expert parallelism: every rank holds some experts, and tokens travel to theirs and back.

Without it, tensor parallelism divides the matrices of every expert. In both cases a rank's router
has only its share of the gradients, which are added up over the tp axis.
References: Lepikhin et al. 2020, arXiv:2006.16668, section 2.3 (the exchange); Shazeer et al. 2017,
arXiv:1701.06538, section 3.1 (copies of experts are fewer than copies of the rest).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed._functional_collectives import all_to_all_single_autograd
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import Placement
from torch.nn import functional

from runtime.mesh import Mesh
from runtime.model.mixture import Experts, ExpertWeights, Mixture
from runtime.model.transformer import Transformer

Placements = dict[str, Placement]

BY_EXPERT: Placements = {"up": Shard(0), "gate": Shard(0), "down": Shard(0)}
BY_WIDTH: Placements = {"up": Shard(1), "gate": Shard(1), "down": Shard(2)}


def mixtures(model: Transformer) -> list[Mixture]:
    """Return the mixtures of experts of a chunk."""
    return [block.ffn for block in model.blocks() if isinstance(block.ffn, Mixture)]


def divide_experts(model: Transformer, mesh: Mesh) -> None:
    """Spread the experts of a chunk over the ep axis, or divide each over tp.

    Every rank must hold the same weights: they are divided without communication.
    """
    plan = mesh.plan
    for mixture in mixtures(model):
        if mesh.has("tp"):
            _share_router(mixture.router.scores, mesh.axes("tp"))
            mixture.router.loss_share /= plan.tp
        if mesh.has("ep"):
            _divide(mixture.experts, mesh.experts("ep"), BY_EXPERT)
            mixture.experts.of_sorted = _exchanged(  # type: ignore[assignment, method-assign]
                mixture.experts.of_sorted, mesh.experts("ep").get_group()
            )
        elif mesh.has("tp"):
            _divide(mixture.experts, mesh.axes("tp"), BY_WIDTH)
            between: Placement = Shard(1) if plan.sequence_parallel else Replicate()
            mixture.routed = _on_whole_sequences(  # type: ignore[assignment, method-assign]
                mixture.routed, mesh.axes("tp"), between
            )
        axes = [
            axis for axis in ("cp", "tp") if mesh.has(axis) and (axis == "cp" or mesh.has("ep"))
        ]
        groups = [mesh.axes(axis).get_group() for axis in axes]
        mixture.router.total_counts = functools.partial(_added_up, groups)


def is_spread(weight: Tensor) -> bool:
    """Return whether a weight is of experts that are spread over the ep axis."""
    return isinstance(weight, DTensor) and "ep" in (weight.device_mesh.mesh_dim_names or ())


def _local(weight: Tensor, gradient: Placement | None = None) -> Tensor:
    """Return this rank's part of a weight; its gradient is as it is placed, or as said."""
    assert isinstance(weight, DTensor)
    placements = None if gradient is None else [gradient]
    return weight.to_local(grad_placements=placements)


def _share_router(scores: nn.Linear, mesh: DeviceMesh) -> None:
    """Let every rank have a part of the gradients of a router's weights."""
    has_bias = scores.bias is not None
    for name, weight in list(scores.named_parameters()):
        shared = distribute_tensor(weight.detach(), mesh, [Replicate()], src_data_rank=None)
        scores.register_parameter(name, nn.Parameter(shared))

    def forward(x: Tensor) -> Tensor:
        bias = _local(scores.bias, Partial()) if has_bias else None
        return functional.linear(x, _local(scores.weight, Partial()), bias)

    scores.forward = forward  # type: ignore[assignment, method-assign]


def _divide(experts: Experts, mesh: DeviceMesh, placements: Placements) -> None:
    """Keep this rank's part of the experts' matrices."""
    for name, weight in list(experts.named_parameters()):
        part = distribute_tensor(weight.detach(), mesh, [placements[name]], src_data_rank=None)
        experts.register_parameter(name, nn.Parameter(part))

    def weights() -> ExpertWeights:
        gate = None if experts.gate is None else _local(experts.gate)
        return ExpertWeights(_local(experts.up), gate, _local(experts.down))

    experts.weights = weights  # type: ignore[method-assign]


def _on_whole_sequences(
    routed: Callable[[Tensor], Tensor], mesh: DeviceMesh, between: Placement
) -> Callable[[Tensor], Tensor]:
    """Have all tokens on every rank, whose results are parts of a sum."""

    def forward(x_BTD: Tensor) -> Tensor:
        x = DTensor.from_local(x_BTD, mesh, [between], run_check=False)
        whole_BTD = x.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
        out = DTensor.from_local(routed(whole_BTD), mesh, [Partial()], run_check=False)
        return out.redistribute(placements=[between]).to_local()

    return forward


def _added_up(groups: list[dist.ProcessGroup], counts: Tensor) -> Tensor:
    for group in groups:
        dist.all_reduce(counts, group=group)
    return counts


def _exchanged(
    of_sorted: Callable[[Tensor, Tensor], Tensor], group: dist.ProcessGroup
) -> Callable[[Tensor, Tensor], Tensor]:
    """Have copies of tokens worked on where their experts are."""

    def forward(x_ND: Tensor, counts_E: Tensor) -> Tensor:
        sent = counts_E.view(group.size(), -1)
        received = exchange_counts(sent, group)
        n_sent, n_received = sent.sum(1).tolist(), received.sum(1).tolist()
        arrived_ND = all_to_all_single_autograd(x_ND, n_received, n_sent, group)
        order_N = _by_expert(received)
        out_ND = of_sorted(arrived_ND[order_N], received.sum(0))
        returned_ND = out_ND[order_N.argsort()]
        back_ND: Tensor = all_to_all_single_autograd(returned_ND, n_sent, n_received, group)
        return back_ND

    return forward


def exchange_counts(sent: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return how many copies every rank sends to each expert here, from those sent to all."""
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return received


def _by_expert(received: Tensor) -> Tensor:
    """Return the order that sorts by expert what arrives sorted by sender and then by expert."""
    n_senders, n_experts = received.shape
    experts = torch.arange(n_experts, device=received.device).repeat(n_senders)
    return experts.repeat_interleave(received.flatten()).argsort(stable=True)
