"""Llama 3 405B's 54 days on 16,384 H100 (arXiv 2407.21783, section 3.3.4), by events."""

import numpy as np
import pytest

from simulator.campaign.events import simulate_campaign
from simulator.campaign.replicas import run_replicas, summarize
from tests.simulator.campaign.settings import DAY_S, setting_of

PRINTED = {"faulty-gpu": 148, "gpu-hbm3": 72, "software-bug": 54, "network-switch-or-cable": 35}
"""Interruptions of Table 5, of 419 that nobody planned."""


def test_failures_and_goodput_under_the_conditions_that_the_paper_allows() -> None:
    # A stall of 20 s and restarts of 5 min; endless spares, as nobody says how many there were.
    setting = setting_of(days=54 * 0.916, checkpoint_stall_s=20, restart_s=300)
    runs = run_replicas(setting, n_replicas=30, jobs=1)
    campaign = summarize(setting, runs)
    assert campaign.calendar_s == pytest.approx(54 * DAY_S, rel=5e-3)
    counts = [run.failures.total() for run in runs]
    assert all(abs(count - 419) < 3 * np.sqrt(419) + 3 for count in counts)
    assert campaign.expected_failures == pytest.approx(419, abs=3 * np.sqrt(419 / 30))
    for cause, printed in PRINTED.items():
        assert campaign.failures[cause] == pytest.approx(printed, abs=4 * np.sqrt(printed / 30))
    # ">90 % effective training time"; the exact renewal value is 0.9160 with the write of 2.8 s.
    assert campaign.goodput_interval.low > 0.90
    assert campaign.goodput == pytest.approx(0.9160, abs=1.5e-3)


def test_a_save_every_half_hour_could_not_have_done_it() -> None:
    setting = setting_of(
        days=54 * 0.877,
        restart_s=420,
        checkpoint_tiers=[
            {
                "name": "store",
                "survives": "region",
                "shared": True,
                "write_bandwidth_bytes_per_s": 1e15,
                "interval_s": 1800.0,
            }
        ],
        checkpoint_stall_s=20.0,
    )
    goodputs = [simulate_campaign(setting, replica=n).goodput for n in range(60)]
    assert np.mean(goodputs) == pytest.approx(0.8767, abs=3 * 0.0057 / np.sqrt(60))
