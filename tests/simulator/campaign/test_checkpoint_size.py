import numpy as np
import pytest

from simulator.campaign.checkpoint_size import state_bytes_per_parameter, transfer_s
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec


def test_bytes_per_parameter() -> None:
    assert state_bytes_per_parameter(JobSpec()) == 14
    assert state_bytes_per_parameter(JobSpec(precision=Precision.FP32)) == 12
    assert state_bytes_per_parameter(JobSpec(optimizer="sgd")) == 10


@pytest.mark.parametrize(
    ("parameters", "published_bytes"),
    [(176e9, 2.3e12), (8.03e9, 105e9), (70.6e9, 912e9), (405e9, 5.29e12)],
    ids=["BLOOM", "MLPerf Storage 8B", "MLPerf Storage 70B", "MLPerf Storage 405B"],
)
def test_published_checkpoints_are_a_little_smaller(
    parameters: float, published_bytes: float
) -> None:
    # Those keep 12 to 13 bytes: no separate 16-bit weights, or part of the moments in 16 bit.
    ours = parameters * state_bytes_per_parameter(JobSpec())
    assert 12 / 14 < published_bytes / ours <= 1


@pytest.mark.parametrize(("store_bytes_per_s", "seconds"), [(2e12, 2.8), (250e9, 23), (57.5e9, 99)])
def test_write_of_405b(store_bytes_per_s: float, seconds: float) -> None:
    time_s = transfer_s(405e9 * 14, np.array([2048.0]), 4e11, store_bytes_per_s, shared=True)
    assert time_s == pytest.approx(seconds, rel=0.02)


def test_few_nodes_are_the_limit() -> None:
    assert transfer_s(1e12, np.array([2.0]), 5e10, 2e12, shared=True) == pytest.approx(10)
    assert transfer_s(1e12, np.array([2.0]), 5e10, 2e12, shared=False) == pytest.approx(0.25)
