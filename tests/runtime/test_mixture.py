"""A mixture of experts against its definition, token by token; and its losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from runtime.model.initialize import initialize
from runtime.model.mixture import Mixture, Router
from runtime.model.transformer import Transformer, whole_model
from runtime.parallel.experts import _by_expert
from simulator.spec.model import ModelSpec, MoeSpec
from tests.runtime.plans_equal import DEEPSEEK, LATENT, MIXTRAL


def built(spec: ModelSpec, batch_share: float = 1.0) -> Transformer:
    model = Transformer(spec, whole_model(spec), batch_share)
    initialize(model, spec, seed=0)
    return model


def token_by_token(mixture: Mixture, moe: MoeSpec, token: Tensor) -> Tensor:
    scores = mixture.router.scores(token)
    affinity = scores.sigmoid() if moe.router_score == "sigmoid" else scores.softmax(-1)
    groups = affinity.view(moe.n_groups, -1)
    n_best = 2 if moe.router_score == "sigmoid" else 1
    goodness = groups.sort(descending=True).values[:, :n_best].sum(1)
    open_groups = set(goodness.argsort(descending=True)[: moe.top_groups].tolist())
    size = groups.shape[1]
    in_order = affinity.argsort(descending=True).tolist()
    chosen = [expert for expert in in_order if expert // size in open_groups][: moe.top_k]
    out = torch.zeros_like(token)
    gate = mixture.experts.gate
    assert gate is not None
    for expert in chosen:
        inner = torch.nn.functional.silu(gate[expert] @ token) * (
            mixture.experts.up[expert] @ token
        )
        weight = moe.routed_scale * affinity[expert] / affinity[chosen].sum()
        out = out + weight * (mixture.experts.down[expert] @ inner)
    if mixture.shared is not None:
        gate_of_shared = mixture.shared_gate
        share = 1.0 if gate_of_shared is None else gate_of_shared(token).sigmoid()
        out = out + mixture.shared(token) * share
    return out


def grouped(spec: ModelSpec) -> ModelSpec:
    assert spec.moe is not None
    groups = {"n_groups": 4, "top_groups": 2}
    return spec.model_copy(
        update={"name": f"{spec.name}-grouped", "moe": spec.moe.model_copy(update=groups)}
    )


@pytest.mark.parametrize(
    "spec", [MIXTRAL, DEEPSEEK, LATENT, grouped(DEEPSEEK)], ids=lambda spec: spec.name
)
def test_every_token_goes_to_its_experts(spec: ModelSpec) -> None:
    mixture = built(spec).blocks()[1].ffn
    assert isinstance(mixture, Mixture)
    assert spec.moe is not None
    tokens = torch.randn((2, 5, spec.hidden_size), generator=torch.Generator().manual_seed(1))
    expected = [token_by_token(mixture, spec.moe, token) for token in tokens.flatten(0, 1)]
    torch.testing.assert_close(mixture(tokens).flatten(0, 1), torch.stack(expected))


def gradients(spec: ModelSpec, n_microbatches: int) -> dict[str, Tensor]:
    model = built(spec, 1 / n_microbatches)
    tokens = torch.randint(256, (4, 9), generator=torch.Generator().manual_seed(2))
    for part in tokens.chunk(n_microbatches):
        model(part[:, :-1], part[:, 1:]).backward()
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def test_losses_do_not_depend_on_microbatches() -> None:
    whole, parts = gradients(DEEPSEEK, 1), gradients(DEEPSEEK, 4)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


def test_balance_moves_the_router() -> None:
    assert MIXTRAL.moe is not None
    still = MIXTRAL.moe.model_copy(update={"aux_loss_coefficient": 0.0})
    with_loss = gradients(MIXTRAL, 1)["layers.0.ffn.router.scores.weight"]
    without = gradients(MIXTRAL.model_copy(update={"moe": still}), 1)[
        "layers.0.ffn.router.scores.weight"
    ]
    assert (with_loss - without).norm() > 0.1 * without.norm()


@pytest.mark.parametrize(("favourite", "imbalance"), [(False, 1.0), (True, 2.0)])
def test_imbalance(favourite: bool, imbalance: float) -> None:
    """Two experts of four for every token: 1 where all are alike, 4 / 2 where two have all."""
    moe = MoeSpec(n_experts=4, top_k=2, expert_ffn_size=8)
    router = Router(MIXTRAL, moe, 1.0)
    experts = torch.tensor([[[0, 1], [0, 1] if favourite else [2, 3]]])
    affinity = torch.full((1, 2, 4), 0.25)
    if favourite:
        affinity = torch.tensor([0.5, 0.5, 0.0, 0.0]).expand(1, 2, 4)
    assert router._imbalance(affinity, experts).item() == pytest.approx(imbalance)


def test_what_arrives_is_sorted_by_expert() -> None:
    # from rank 0: 2 for the first expert and 1 for the second; from rank 1: 0 and 2
    assert _by_expert(torch.tensor([[2, 1], [0, 2]])).tolist() == [0, 1, 2, 3, 4]
    assert _by_expert(torch.tensor([[1, 2], [2, 0]])).tolist() == [0, 3, 4, 1, 2]
