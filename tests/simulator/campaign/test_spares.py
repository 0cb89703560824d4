import numpy as np
import pytest
from scipy.stats import binom

from simulator.campaign.spares import offered_repairs
from tests.simulator.campaign.erlang import waiting_share

N_NODES = 2048
RATE_PER_NODE_DAY = 3.79e-3


def test_nodes_in_repair_of_llama_3() -> None:
    assert offered_repairs(N_NODES, RATE_PER_NODE_DAY, 2) == pytest.approx(15.52, abs=5e-3)


def test_a_job_without_spares_waits_for_every_repair() -> None:
    # Up 1/lambda, then down for the repair: share down = a / (1 + a).
    repairs = np.array([0.0, 0.1, 15.5])
    assert waiting_share(repairs, 0) == pytest.approx(repairs / (1 + repairs))


def test_waiting_falls_with_spares_and_holds_far_below_them() -> None:
    share = waiting_share(15.52, np.arange(64))
    assert np.all(np.diff(share) < 0)
    assert share[-1] < 1e-12
    assert waiting_share(1e6, 10) == pytest.approx(1 - 11e-6, rel=1e-9)


@pytest.mark.parametrize("shape", [0.4, 1.0, 3.0])
def test_waiting_does_not_depend_on_the_repair_distribution(shape: float) -> None:
    generator = np.random.default_rng(7)
    n_spares, load = 2, 2.0
    time, waited, horizon = 0.0, 0.0, 40_000.0
    repairs = np.empty(0)
    while time < horizon:
        time += generator.exponential(1 / load)
        repairs = repairs[repairs > time]
        repairs = np.append(repairs, time + generator.gamma(shape, 1 / shape))
        if len(repairs) > n_spares:
            waited += repairs.min() - time
            time = repairs.min()
    assert waited / time == pytest.approx(float(waiting_share(load, n_spares)), rel=0.05)


def test_a_published_superpod_promise() -> None:
    # 130 of 144 cubes usable at 95 %: cube availability 0.9347.
    assert binom.sf(129, 144, 0.9347) == pytest.approx(0.95, abs=1e-3)
