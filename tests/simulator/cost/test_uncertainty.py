import math

import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.uncertainty import MEASURED_SHARE, step_factor
from simulator.spec.cluster import Calibration

DENSE, MIXTURE = find_model("llama3-8b"), find_model("mixtral-8x7b")
KNOWN = find_software("megatron-core-2024")


def test_intervals_widen_with_what_is_not_known() -> None:
    fitted, unseen = parse_cluster("h100-sxm:64"), parse_cluster("mi300x:64")
    assert step_factor(fitted, DENSE, KNOWN, 64) == 1.21
    assert step_factor(unseen, DENSE, KNOWN, 64) == 1.45
    assert step_factor(fitted, MIXTURE, KNOWN, 64) == pytest.approx(1.21 * 1.17)


def test_unknown_software_and_fabrics_widen_the_interval() -> None:
    one, cluster = parse_cluster("h100-sxm:8"), parse_cluster("h100-sxm:64")
    unknown = find_software("default")
    assert step_factor(cluster, DENSE, unknown, 64) == pytest.approx(1.21 * unknown.interval_factor)
    bare = cluster.fabric.model_copy(update={"sources": ()})
    nobody_s = cluster.model_copy(update={"fabric": bare})
    assert step_factor(nobody_s, DENSE, KNOWN, 64) > step_factor(cluster, DENSE, KNOWN, 64)
    assert step_factor(one, DENSE, KNOWN, 8) == step_factor(cluster, DENSE, KNOWN, 64)


def test_intervals_widen_beyond_the_largest_published_run() -> None:
    cluster = parse_cluster("h100-sxm:64")
    factors = [step_factor(cluster, DENSE, KNOWN, n) for n in (1, 8192, 16384, 2**20)]
    assert factors[0] == factors[1] < factors[2] < factors[3]
    assert math.isclose(factors[3] / factors[1], 1 + 0.02 * 7)


def test_measured_steps_of_the_cluster_itself_narrow_the_interval() -> None:
    calibration = Calibration(date="2026-11-25", step_scale=1.1, step_scale_runs=3)
    cluster = parse_cluster("h100-sxm:64").model_copy(update={"calibration": calibration})
    assert step_factor(cluster, DENSE, KNOWN, 64) == pytest.approx(1.21**MEASURED_SHARE)
