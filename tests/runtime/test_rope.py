"""Rotary positions equal those of transformers, whatever base, share and stretching they have."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from runtime.model.rope import Rope, rotate  # noqa: E402
from simulator.catalog import find_model  # noqa: E402
from simulator.spec.model import ModelSpec, RopeScaling  # noqa: E402

TINY = find_model("tiny-llama-1m")


def rotated_by(**changes: Any) -> Rope:
    return Rope(ModelSpec.model_validate(TINY.model_dump() | changes))


def test_frequencies_fall_from_one_to_the_base() -> None:
    frequencies = rotated_by(rope_base=500_000.0, head_dim=4, n_heads=32).frequencies()
    assert frequencies.tolist() == pytest.approx([1.0, 500_000**-0.5])


@pytest.mark.slow  # importing transformers takes more than ten seconds
@pytest.mark.parametrize(
    "parameters",
    [
        {"rope_type": "default", "rope_theta": 500_000.0},
        {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
        {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
         "high_freq_factor": 4.0, "original_max_position_embeddings": 256},
    ],
)  # fmt: skip
def test_frequencies_equal_those_of_transformers(parameters: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(
        hidden_size=128, num_attention_heads=4, max_position_embeddings=2048,
        rope_parameters=parameters,
    )  # fmt: skip
    kind = parameters["rope_type"]
    scaling = None
    if kind != "default":
        scaling = RopeScaling(
            kind=kind,
            factor=parameters["factor"],
            original_positions=parameters.get("original_max_position_embeddings", 8192),
        )
    found = rotated_by(rope_base=parameters["rope_theta"], rope_scaling=scaling).frequencies()
    torch.testing.assert_close(found, LlamaRotaryEmbedding(config).inv_freq)


def test_the_share_that_is_not_rotated_stays() -> None:
    rope = rotated_by(rope_fraction=0.25)
    heads = torch.randn(2, 5, 4, TINY.head_dim, generator=torch.Generator().manual_seed(0))
    turned = rotate(heads, rope.tables(torch.arange(5)))
    width = TINY.head_dim // 4
    torch.testing.assert_close(turned[..., width:], heads[..., width:])
    torch.testing.assert_close(turned[:, 0], heads[:, 0])  # nothing is turned at position 0
    assert not torch.allclose(turned[:, 1:, :, :width], heads[:, 1:, :, :width])
