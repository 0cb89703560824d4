import numpy as np
import pytest

from simulator.step.slowest import expected_normal_maximum


def test_expected_maximum_of_normals() -> None:
    counts = np.array([1, 2, 8, 64, 512, 4096, 16_384, 131_072, 1_000_000])
    expected = [0.0, np.pi**-0.5, 1.4236, 2.3437, 3.0439, 3.6261, 3.9714, 4.4430, 4.8629]
    assert expected_normal_maximum(counts) == pytest.approx(expected, abs=5e-5)
