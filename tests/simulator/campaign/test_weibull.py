import numpy as np
import pytest

from simulator.campaign.weibull import weibull_scale


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_scale_gives_the_mean(shape: float) -> None:
    sample = float(weibull_scale(3.0, shape)) * np.random.default_rng(3).weibull(shape, 400_000)
    assert sample.mean() == pytest.approx(3.0, rel=0.01)
