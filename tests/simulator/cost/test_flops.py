import pytest

from simulator.catalog import find_model
from simulator.cost.flops import matmul_weights, model_flops_per_token


def test_gpt3_weights_are_twelve_l_h_squared_and_the_head() -> None:
    model = find_model("gpt3-175b")
    assert matmul_weights(model) == 12 * 96 * 12288**2 + 12288 * model.vocab_size


def test_llama3_8b_flops_are_six_n_plus_twelve_l_h_s() -> None:
    model = find_model("llama3-8b")
    layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 4096 * 14336
    weights = 32 * layer + 4096 * 128256
    assert matmul_weights(model) == weights == 7_504_658_432
    assert model_flops_per_token(model, 8192) == 6 * weights + 12 * 32 * 4096 * 8192


def test_published_mfu_of_gpt3_on_a100_is_reproduced() -> None:
    # Korthikanti et al., arXiv 2205.05198, table 5: 13.75 s on 64 A100 are 51.4 % MFU.
    flops = model_flops_per_token(find_model("gpt3-175b"), 2048) * 64 * 2048
    assert flops / 13.75 / 64 / 312e12 == pytest.approx(0.514, abs=0.002)
