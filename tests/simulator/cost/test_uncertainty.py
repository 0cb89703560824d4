import math

import pytest

from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.cost.uncertainty import MEASURED_SHARE, step_factor
from simulator.spec.cluster import Calibration

DENSE, MIXTURE = find_model("llama3-8b"), find_model("mixtral-8x7b")


def test_intervals_widen_with_what_is_not_known() -> None:
    fitted, unseen = parse_cluster("h100-sxm:64"), parse_cluster("mi300x:64")
    assert step_factor(fitted, DENSE, 64) == 1.21
    assert step_factor(unseen, DENSE, 64) == 1.45
    assert step_factor(fitted, MIXTURE, 64) == pytest.approx(1.21 * 1.17)


def test_intervals_widen_beyond_the_largest_published_run() -> None:
    cluster = parse_cluster("h100-sxm:64")
    factors = [step_factor(cluster, DENSE, n) for n in (1, 8192, 16384, 2**20)]
    assert factors[0] == factors[1] < factors[2] < factors[3]
    assert math.isclose(factors[3] / factors[1], 1 + 0.02 * 7)


def test_measured_steps_of_the_cluster_itself_narrow_the_interval() -> None:
    calibration = Calibration(date="2026-11-25", step_scale=1.1, step_scale_runs=3)
    cluster = parse_cluster("h100-sxm:64").model_copy(update={"calibration": calibration})
    assert step_factor(cluster, DENSE, 64) == pytest.approx(1.21**MEASURED_SHARE)
