"""Intervals of products, and how likely a limit holds."""

import math

import numpy as np
import pytest

from simulator.spec.prediction import Interval


def test_reaches_add_up_as_squares_of_logarithms() -> None:
    campaigns = Interval(low=95.0, high=108.0)
    step = Interval(low=6.0 / 1.3, high=6.0 * 1.2)
    joint = campaigns.times(100.0, step, 6.0)
    assert joint.low == pytest.approx(
        100 * math.exp(-math.hypot(math.log(100 / 95), math.log(1.3)))
    )
    assert joint.high == pytest.approx(100 * math.exp(math.hypot(math.log(1.08), math.log(1.2))))
    assert joint.ends == pytest.approx((76.54, 121.88), abs=0.01)


def test_one_factor_alone_keeps_its_interval() -> None:
    sure = Interval(low=100.0, high=100.0)
    step = Interval(low=5.0, high=8.0)
    assert sure.times(100.0, step, 6.0).ends == pytest.approx((100 * 5 / 6, 100 * 8 / 6))
    assert step.times(6.0, sure, 100.0).ends == pytest.approx(step.ends)
    assert Interval(low=0.0, high=0.0).times(0.0, step, 6.0).ends == (0.0, 0.0)


def test_as_many_draws_of_both_factors_say() -> None:
    draw = np.random.default_rng(1)
    reach = 1.6448536269514722
    steps_s = 6 * np.exp(math.log(1.3) / reach * draw.standard_normal(200_000))
    campaigns = 20 * np.exp(math.log(1.2) / reach * draw.standard_normal(200_000))
    low, high = np.quantile(steps_s * campaigns, (0.05, 0.95))
    joint = Interval(low=20 / 1.2, high=20 * 1.2).times(20, Interval(low=6 / 1.3, high=7.8), 6)
    assert (6 * joint.low, 6 * joint.high) == pytest.approx((low, high), rel=0.01)


def test_a_limit_holds_as_often_as_the_interval_says() -> None:
    between = Interval(low=80.0, high=130.0)
    assert between.share_below(80.0, 100.0) == pytest.approx(0.05)
    assert between.share_below(130.0, 100.0) == pytest.approx(0.95)
    assert between.share_below(100.0, 100.0) == 0.5
    exact = Interval(low=3.0, high=3.0)
    assert (exact.share_below(2.9, 3.0), exact.share_below(3.0, 3.0)) == (0.0, 1.0)
