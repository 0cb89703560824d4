"""What a campaign takes for what was not given is said, with its value."""

from __future__ import annotations

import pytest

from simulator.campaign.terms import campaign_terms
from simulator.catalog import find_failure_profile
from simulator.catalog.scenario_file import scenario_from_flags

SAID = {
    "failures and restarts as in profile llama3-16k-h100: 0.000474 per device-day, here one every "
    "33 d": "reliability.profile=meta-rsc-2",
    "a replacement node is always at hand and costs nothing": "reliability.spares=1",
    "checkpoints go to a shared store of 7.812 GB/s, by profile llama3-16k-h100": (
        "reliability.checkpoint_write_bandwidth_bytes_per_s=100 GB/s"
    ),
    "$3.99 per device-hour, the catalog's lambda-2026-09": "economics.usd_per_device_hour=3",
    "grid us-average-2024, PUE 1.1": "economics.pue=1.2",
}


@pytest.mark.parametrize(("sentence", "given"), SAID.items())
def test_it_is_said_unless_given(sentence: str, given: str) -> None:
    usual, said = (
        campaign_terms(
            scenario_from_flags(model="llama3-8b", cluster="h100-sxm:64", overrides=overrides)
        ).assumptions
        for overrides in ([], [given])
    )
    assert sentence in usual
    assert sentence not in said


@pytest.mark.parametrize(
    ("n_devices", "gigabytes_per_s"), [(8, 2.0), (64, 7.8125), (16_384, 2000.0), (1 << 20, 2000.0)]
)
def test_a_store_is_of_the_size_of_its_cluster(n_devices: int, gigabytes_per_s: float) -> None:
    profile = find_failure_profile("llama3-16k-h100")
    assert profile.store_bytes_per_s(n_devices) == pytest.approx(gigabytes_per_s * 1e9)
    unknown = profile.model_copy(update={"store_devices": None})
    assert unknown.store_bytes_per_s(n_devices) == 2e12


def test_two_profiles_give_every_device_as_much() -> None:
    """122 MB/s a device at Meta and 150 MB/s at Jean Zay: that stores grow with clusters."""
    meta, zay = (
        profile.checkpoint_write_bandwidth_bytes_per_s / profile.store_devices
        for name in ("llama3-16k-h100", "bloom-jean-zay")
        if (profile := find_failure_profile(name)).store_devices is not None
    )
    assert meta == pytest.approx(122e6, rel=0.01)
    assert zay == pytest.approx(150e6, rel=0.01)
