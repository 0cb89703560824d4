"""Models: derived widths, which layers are mixtures, and what cannot be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from simulator.spec.base import spec_name
from simulator.spec.model import ModelSpec, MoeSpec

SHAPE = {
    "name": "m",
    "n_layers": 6,
    "hidden_size": 64,
    "n_heads": 8,
    "n_kv_heads": 2,
    "head_dim": 16,
    "ffn_size": 128,
    "vocab_size": 256,
}
MOE = {"n_experts": 4, "top_k": 2, "expert_ffn_size": 32}


def model(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate(SHAPE | changes)


def test_widths() -> None:
    assert (model().q_size, model().kv_size) == (128, 32)
    assert model().causal
    assert not model(kind="encoder").causal


@pytest.mark.parametrize(
    ("moe", "layers"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"n_dense_layers": 2}, [2, 3, 4, 5]),
        ({"layer_period": 2}, [1, 3, 5]),
        ({"layer_period": 3, "n_dense_layers": 1}, [3]),
        ({"n_dense_layers": 6}, []),
    ],
)
def test_which_layers_are_mixtures(moe: dict[str, int], layers: list[int]) -> None:
    mixture = model(moe=MOE | moe)
    assert [layer for layer in range(6) if mixture.is_moe_layer(layer)] == layers
    assert mixture.n_moe_layers == len(layers)


def test_shared_experts() -> None:
    assert MoeSpec.model_validate(MOE | {"n_shared_experts": 2}).shared_ffn_size == 64
    explicit = MoeSpec.model_validate(MOE | {"n_shared_experts": 1, "shared_expert_ffn_size": 99})
    assert explicit.shared_ffn_size == 99


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_kv_heads": 3}, "n_heads=8 is not a multiple of n_kv_heads=3"),
        ({"ffn_size": 0}, "ffn_size=0 needs a moe section"),
        ({"kind": "vit"}, "kind=vit needs a patches section"),
        ({"vocab_size": 0}, "kind=decoder needs vocab_size > 0"),
        ({"moe": MOE | {"top_k": 5}}, "top_k=5 exceeds n_experts=4"),
        ({"moe": MOE | {"n_dense_layers": 7}}, "n_dense_layers=7 exceeds n_layers=6"),
        ({"n_layers": 10**6}, "less than or equal to 10000"),
        ({"name": "a\nb"}, "should match pattern"),
    ],
)
def test_what_is_no_model(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model(**changes)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("meta-llama/Llama-3-8B", "Llama-3-8B"),
        ("a b;c", "a-b-c"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("x" * 100, "x" * 63),
        ("dir/", "dir"),
    ],
)
def test_names_from_text(text: str, name: str) -> None:
    assert spec_name(text) == name
