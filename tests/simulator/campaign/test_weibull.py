import numpy as np
import pytest

from simulator.campaign.weibull import expected_first_failures, minimum_scale, weibull_scale


@pytest.mark.parametrize(("shape", "failures"), [(0.7, 1419), (1.0, 413.7), (2.0, 8.4)])
def test_first_failures_of_a_new_fleet(shape: float, failures: float) -> None:
    # 16,384 devices of 5.78 years mean life, after 54 days.
    expected = expected_first_failures(16_384, 5.78 * 365.25, shape, 54)
    assert expected == pytest.approx(failures, abs=0.06 if shape > 1 else 1)


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0])
def test_scale_gives_the_mean(shape: float) -> None:
    sample = float(weibull_scale(3.0, shape)) * np.random.default_rng(3).weibull(shape, 400_000)
    assert sample.mean() == pytest.approx(3.0, rel=0.01)


def test_first_of_many() -> None:
    scale = float(minimum_scale(1.0, 0.7, 100))
    sample = np.random.default_rng(3).weibull(0.7, (20_000, 100)).min(axis=1)
    assert np.median(sample) == pytest.approx(scale * np.log(2) ** (1 / 0.7), rel=0.05)
