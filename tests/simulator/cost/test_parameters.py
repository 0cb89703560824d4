"""Parameter counts against published sizes and by their own parts."""

from __future__ import annotations

import pytest

from simulator import catalog
from simulator.cost.parameters import count_parameters


def test_one_llama3_8b_layer_by_hand() -> None:
    count = count_parameters(catalog.find_model("llama3-8b"))
    attention = 4096 * (4096 + 1024 + 1024 + 4096)
    assert count.attention == attention == 41_943_040
    assert count.dense_layer == attention + 3 * 4096 * 14336 + 2 * 4096 == 218_112_000
    assert count.embedding == count.head == 128256 * 4096
    assert count.total == 8_030_261_248
    assert count.matmul == 32 * (attention + 3 * 4096 * 14336) + 128256 * 4096


PUBLISHED = {
    "llama-7b": (6.74, 0.001),
    "llama-65b": (65.3, 0.001),
    "llama2-13b": (13.0, 0.002),
    "llama2-70b": (69.0, 0.001),
    "llama3-70b": (70.6, 0.001),
    "llama3.1-405b": (405.9, 0.001),
    "llama3.2-1b": (1.236, 0.001),
    "llama3.2-3b": (3.213, 0.001),
    "gpt2": (0.124, 0.004),
    "gpt2-medium": (0.355, 0.001),
    "gpt2-large": (0.774, 0.001),
    "gpt2-xl": (1.558, 0.001),
    "gpt3-175b": (174.6, 0.001),
    "megatron-1.7b": (1.7, 0.03),
    "megatron-3.6b": (3.6, 0.02),
    "megatron-7.5b": (7.5, 0.01),
    "megatron-18b": (18.4, 0.01),
    "megatron-22b": (22.0, 0.02),
    "megatron-39b": (39.1, 0.01),
    "megatron-76b": (76.1, 0.01),
    "megatron-145b": (145.6, 0.01),
    "megatron-310b": (310.1, 0.01),
    "mt-nlg-530b": (529.6, 0.001),
    "megatron-1t": (1008, 0.001),
    "gpt-neox-20b": (20.55, 0.001),
    "bloom-176b": (176.247, 0.0001),
    "opt-175b": (174.6, 0.001),
    "mistral-7b": (7.24, 0.001),
    "mixtral-8x7b": (46.7, 0.001),
    "mixtral-8x22b": (140.6, 0.001),
    "grok-1": (314, 0.01),
    "deepseek-v2-lite": (15.7, 0.002),
    "deepseek-v2": (235.7, 0.001),
    "qwen2.5-0.5b": (0.494, 0.001),
    "qwen2.5-1.5b": (1.54, 0.003),
    "qwen2.5-3b": (3.09, 0.002),
    "qwen2.5-7b": (7.62, 0.001),
    "qwen2.5-14b": (14.77, 0.001),
    "qwen2.5-32b": (32.76, 0.001),
    "qwen2.5-72b": (72.7, 0.001),
    "qwen3-0.6b": (0.596, 0.001),
    "qwen3-1.7b": (1.72, 0.001),
    "qwen3-4b": (4.02, 0.001),
    "qwen3-8b": (8.19, 0.001),
    "qwen3-14b": (14.77, 0.001),
    "qwen3-32b": (32.76, 0.001),
    "qwen3-30b-a3b": (30.53, 0.001),
    "qwen3-235b-a22b": (235.1, 0.001),
    "qwen1.5-moe-a2.7b": (14.3, 0.002),
    "bert-base": (0.110, 0.01),
    "bert-large": (0.335, 0.002),
    "esm2-650m": (0.651, 0.002),
    "esm2-3b": (2.84, 0.002),
    "vit-b-16": (0.0866, 0.001),
    "vit-l-16": (0.3043, 0.001),
    "vit-h-14": (0.632, 0.001),
}
"""Sizes in the papers and model cards, in billions, and to which relative accuracy."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    billions, relative = PUBLISHED[name]
    total = count_parameters(catalog.find_model(name)).total
    assert total == pytest.approx(billions * 1e9, rel=relative)


def test_deepseek_v3_as_published() -> None:
    """671 B in all and 37 B active, apart from 11.5 B of multi-token prediction (14 B with the
    embedding and head that it shares)."""
    count = count_parameters(catalog.find_model("deepseek-v3"))
    assert count.total - count.mtp == 671_026_404_352
    assert count.active - count.mtp_active == pytest.approx(37.6e9, rel=0.01)
    assert count.mtp == pytest.approx(11.6e9, rel=0.01)


def test_active_sizes_as_published() -> None:
    for name, billions in (("mixtral-8x7b", 12.9), ("deepseek-v2", 21.4), ("qwen3-30b-a3b", 3.35)):
        active = count_parameters(catalog.find_model(name)).active
        assert active == pytest.approx(billions * 1e9, rel=0.01), name


@pytest.mark.parametrize("name", catalog.list_names("models"))
def test_the_parts_add_up(name: str) -> None:
    model = catalog.find_model(name)
    count = count_parameters(model)
    assert count.n_dense_layers + count.n_moe_layers == model.n_layers
    assert 0 < count.active <= count.total
    assert count.moe_layer_experts <= count.moe_layer
    assert count.matmul > 0
