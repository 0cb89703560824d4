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


def test_published_sizes() -> None:
    """Sizes in the papers and model cards, in billions, to the digits that they print."""
    published = {
        "llama2-70b": (69.0, 0.01),
        "llama3-70b": (70.6, 0.01),
        "llama3.1-405b": (405.9, 0.01),
        "gpt3-175b": (174.6, 0.01),
        "llama3.2-1b": (1.236, 0.001),
    }
    for name, (billions, relative) in published.items():
        total = count_parameters(catalog.find_model(name)).total
        assert total == pytest.approx(billions * 1e9, rel=relative), name


@pytest.mark.parametrize("name", catalog.list_names("models"))
def test_the_parts_add_up(name: str) -> None:
    model = catalog.find_model(name)
    count = count_parameters(model)
    assert count.n_dense_layers + count.n_moe_layers == model.n_layers
    assert 0 < count.active <= count.total
    assert count.moe_layer_experts <= count.moe_layer
    assert count.matmul > 0
