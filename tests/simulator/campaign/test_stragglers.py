import numpy as np
import pytest

from simulator.campaign.stragglers import (
    any_slow_probability,
    expected_exponential_maximum,
    expected_normal_maximum,
    jitter_slowdown,
)


def test_expected_maximum_of_normals() -> None:
    counts = np.array([1, 8, 64, 512, 4096, 16_384, 131_072, 1_000_000])
    expected = [0.0, 1.4236, 2.3437, 3.0439, 3.6261, 3.9714, 4.4430, 4.8629]
    assert expected_normal_maximum(counts) == pytest.approx(expected, abs=5e-5)


def test_two_percent_jitter_at_scale() -> None:
    slowdown = jitter_slowdown(0.02, np.array([16_384, 1_000_000]))
    assert slowdown == pytest.approx([1.0794, 1.0973], abs=5e-5)


def test_expected_maximum_of_exponentials() -> None:
    assert expected_exponential_maximum(3) == pytest.approx(1 + 1 / 2 + 1 / 3)
    assert expected_exponential_maximum(16_384) == pytest.approx(10.281, abs=5e-4)


def test_one_slow_node_among_many() -> None:
    assert any_slow_probability(0.01, 2) == pytest.approx(1 - 0.99**2)
    assert any_slow_probability(1e-5, 1_000_000) == pytest.approx(1 - np.exp(-10), rel=1e-4)
