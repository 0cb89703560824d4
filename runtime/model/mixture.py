"""A feed-forward network that is a mixture of experts: Mixtral, DeepSeek and Qwen shapes.

Shapes in names, beside those of `runtime.model.transformer`: E experts, C copies of a token (one
for each of its experts), N copies of all tokens, F inner width of an expert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.model.feed_forward import ACTIVATIONS, FeedForward
from simulator.spec.model import ModelSpec, MoeSpec


class _WithLoss(torch.autograd.Function):
    """Values as they are, whose backward pass also starts that of a loss."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, loss: Tensor) -> Tensor:
        ctx.loss_like = torch.ones_like(loss)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, ctx.loss_like


class Routing(NamedTuple):
    """Where every token goes."""

    weights: Tensor
    """Of the experts' results in the sum, (B, T, C)."""
    experts: Tensor
    """(B, T, C)."""


def _with_loss(values: Tensor, loss: Tensor) -> Tensor:
    out: Tensor = _WithLoss.apply(values, loss)  # type: ignore[no-untyped-call]
    return out


def _as_it_is(counts: Tensor) -> Tensor:
    return counts


class Router(nn.Module):
    """Chooses the best experts of every token, and keeps their loads alike.

    Whatever a model was balanced over, here it is every sequence by itself: the only loss of them
    that does not depend on how a batch is divided.
    References: DeepSeek-V3, arXiv:2412.19437, equations 12 to 20; Zoph et al. 2022,
    arXiv:2202.08906, equation 5 (the loss of large scores).
    """

    def __init__(self, spec: ModelSpec, moe: MoeSpec, batch_share: float) -> None:
        super().__init__()
        self.moe = moe
        self.scores = nn.Linear(spec.hidden_size, moe.n_experts, bias=moe.router_bias)
        self.loss_share = batch_share
        """What this router's losses are multiplied by, beside their coefficients."""
        self.total_counts: Callable[[Tensor], Tensor] = _as_it_is
        """From the tokens here of every sequence and expert (B, E) to those of whole sequences."""

    def forward(self, x_BTD: Tensor) -> Routing:
        scores_BTE = self.scores(x_BTD).float()
        affinity_BTE = (
            scores_BTE.sigmoid() if self.moe.router_score == "sigmoid" else scores_BTE.softmax(-1)
        )
        experts_BTC = self._eligible(affinity_BTE).topk(self.moe.top_k).indices
        weights_BTC = affinity_BTE.gather(-1, experts_BTC)
        if self.moe.normalize_top_k:
            weights_BTC = weights_BTC / weights_BTC.sum(-1, keepdim=True)
        weights_BTC = weights_BTC * self.moe.routed_scale
        if self.moe.aux_loss_coefficient:
            loss = self.moe.aux_loss_coefficient * self._imbalance(affinity_BTE, experts_BTC)
            weights_BTC = _with_loss(weights_BTC, loss * self.loss_share)
        if self.moe.z_loss_coefficient:
            loss = self.moe.z_loss_coefficient * scores_BTE.logsumexp(-1).square().mean()
            weights_BTC = _with_loss(weights_BTC, loss * self.loss_share)
        return Routing(weights_BTC, experts_BTC)

    def _eligible(self, affinity_BTE: Tensor) -> Tensor:
        """Return the affinities, those outside of a token's best groups of experts as none.

        A group is as good as its best expert (DeepSeek-V2, arXiv:2405.04434, section 2.2.2), or as
        its two best together where scores are sigmoids (V3, arXiv:2412.19437, section 2.1.2).
        """
        if self.moe.n_groups == self.moe.top_groups:
            return affinity_BTE
        grouped_BTGE = affinity_BTE.detach().view(*affinity_BTE.shape[:-1], self.moe.n_groups, -1)
        n_best = min(2 if self.moe.router_score == "sigmoid" else 1, grouped_BTGE.shape[-1])
        best_BTG = grouped_BTGE.topk(n_best).values.sum(-1).topk(self.moe.top_groups).indices
        outside_BTG = torch.ones_like(grouped_BTGE[..., 0], dtype=torch.bool)
        outside_BTG = outside_BTG.scatter(-1, best_BTG, value=False)
        eligible_BTGE: Tensor = grouped_BTGE.masked_fill(outside_BTG.unsqueeze(-1), -1.0)
        return eligible_BTGE.flatten(-2)

    def _imbalance(self, affinity_BTE: Tensor, experts_BTC: Tensor) -> Tensor:
        """Return the mean over sequences of load x probability: 1 where all experts are alike."""
        chosen_BN = experts_BTC.flatten(1)
        counts_BE = affinity_BTE.new_zeros(affinity_BTE.shape[::2]).scatter_add_(
            1, chosen_BN, torch.ones_like(chosen_BN, dtype=affinity_BTE.dtype)
        )
        counts_BE = self.total_counts(counts_BE)
        load_BE = counts_BE / counts_BE.mean(-1, keepdim=True)
        probability_BTE = affinity_BTE / affinity_BTE.sum(-1, keepdim=True)
        return (load_BE * probability_BTE.mean(1)).sum(-1).mean()


class ExpertWeights(NamedTuple):
    """The matrices of some experts."""

    up: Tensor
    """(E, F, D), as is the gate."""
    gate: Tensor | None
    down: Tensor
    """(E, D, F)."""


class Experts(nn.Module):
    """Routed experts, whose matrices lie in one tensor each."""

    def __init__(self, spec: ModelSpec, moe: MoeSpec) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        inward = moe.n_experts, moe.expert_ffn_size, spec.hidden_size
        self.up = nn.Parameter(torch.empty(inward))
        self.gate = nn.Parameter(torch.empty(inward)) if spec.gated_ffn else None
        self.down = nn.Parameter(torch.empty(inward[0], inward[2], inward[1]))

    def forward(self, x_BTD: Tensor, routing: Routing) -> Tensor:
        n_copies = routing.experts.shape[-1]
        experts_N = routing.experts.flatten()
        order_N = experts_N.argsort(stable=True)
        counts_E = experts_N.bincount(minlength=self.up.shape[0])
        sorted_ND = x_BTD.flatten(0, 1)[order_N // n_copies]
        out_ND = self.of_sorted(sorted_ND, counts_E)[order_N.argsort()]
        out_BTCD = out_ND.view(*routing.experts.shape, -1)
        return (out_BTCD * routing.weights.to(x_BTD.dtype).unsqueeze(-1)).sum(2)

    def of_sorted(self, x_ND: Tensor, counts_E: Tensor) -> Tensor:
        """Return the results for copies of tokens that are sorted by expert."""
        up_EFD, gate_EFD, down_EDF = self.weights()
        ends_E = counts_E.cumsum(0, dtype=torch.int32)
        inner_NF = _grouped_linear(x_ND, up_EFD, ends_E)
        if gate_EFD is None:
            inner_NF = self.activation(inner_NF)
        else:
            inner_NF = self.activation(_grouped_linear(x_ND, gate_EFD, ends_E)) * inner_NF
        return _grouped_linear(inner_NF, down_EDF, ends_E)

    def weights(self) -> ExpertWeights:
        """Return the matrices to multiply by."""
        return ExpertWeights(self.up, self.gate, self.down)


def _grouped_linear(x_NI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply every group of rows by its own matrix; `ends_E` is where the groups end."""
    device_type = x_NI.device.type
    if torch.is_autocast_enabled(device_type):
        dtype = torch.get_autocast_dtype(device_type)
        x_NI, weight_EOI = x_NI.to(dtype), weight_EOI.to(dtype)
    return functional.grouped_mm(x_NI, weight_EOI.transpose(1, 2), offs=ends_E)


class Mixture(nn.Module):
    """Routed experts, and shared ones that see every token."""

    def __init__(self, spec: ModelSpec, moe: MoeSpec, batch_share: float) -> None:
        super().__init__()
        self.router = Router(spec, moe, batch_share)
        self.experts = Experts(spec, moe)
        self.shared = FeedForward(spec, moe.shared_ffn_size) if moe.shared_ffn_size else None
        self.shared_gate = (
            nn.Linear(spec.hidden_size, 1, bias=False) if moe.shared_expert_gate else None
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        out_BTD = self.routed(x_BTD)
        if self.shared is None:
            return out_BTD
        shared_BTD: Tensor = self.shared(x_BTD)
        if self.shared_gate is not None:
            shared_BTD = shared_BTD * self.shared_gate(x_BTD).sigmoid()
        return out_BTD + shared_BTD

    def routed(self, x_BTD: Tensor) -> Tensor:
        """Return what the routed experts make of every token."""
        out_BTD: Tensor = self.experts(x_BTD, self.router(x_BTD))
        return out_BTD
