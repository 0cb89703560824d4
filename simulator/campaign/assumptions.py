"""What a prediction of a campaign rests on where the scenario does not say it, in sentences."""

from __future__ import annotations

from simulator.campaign.money import MoneyTerms
from simulator.campaign.power import PowerTerms
from simulator.catalog.offers import chosen_offer
from simulator.spec.economics import EconomicsSpec
from simulator.spec.profiles import FailureProfile
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario
from simulator.spec.units import DAY_S, format_seconds


def campaign_assumptions(
    scenario: Scenario,
    profile: FailureProfile,
    *,
    store_bytes_per_s: float,
    money: MoneyTerms | None,
    power: PowerTerms | None,
) -> tuple[str, ...]:
    """Return what was taken for what was not given: failures, spares, store, money, power, data."""
    asked, device = scenario.reliability, scenario.cluster.device.name
    price = _price(scenario)
    stores = asked.checkpoint_tiers or asked.checkpoint_write_bandwidth_bytes_per_s is not None
    unsaid = (
        (_rates_by_default(asked), _failures(scenario, profile)),
        (
            asked.spares is None,
            "a replacement node is always at hand and costs nothing",
        ),
        (
            not stores,
            f"checkpoints go to a shared store of {store_bytes_per_s / 1e9:.4g} GB/s, by profile "
            f"{profile.name}",
        ),
        (price is not None, price or ""),
        (
            power is not None and _grid_by_default(scenario.economics),
            f"grid {scenario.economics.grid}, PUE {scenario.economics.pue:g}",
        ),
        (scenario.input is None, "data are always there in time"),
        (money is None, f"no price is known for {device}: cost left out"),
        (power is None, f"no power is known for {device}: energy left out"),
        (
            power is not None and scenario.cluster.host.power_w == 0,
            "power of the hosts is unknown and left out",
        ),
        (
            power is not None and scenario.economics.fabric_power_per_device is None,
            "power of switches and optics is unknown and left out",
        ),
        (
            money is not None and scenario.economics.usd_per_tb_month is None,
            "storage costs nothing",
        ),
    )
    return tuple(sentence for applies, sentence in unsaid if applies)


def _rates_by_default(asked: ReliabilitySpec) -> bool:
    default = ReliabilitySpec()
    given = asked.causes or asked.failures_per_device_day is not None
    strikes = asked.random_failures and asked.failure_factor > 0
    return asked.profile == default.profile and strikes and not given


def _failures(scenario: Scenario, profile: FailureProfile) -> str:
    rate = profile.failures_per_device_day * scenario.reliability.failure_factor
    every_s = DAY_S / (rate * scenario.cluster.n_devices) if rate else float("inf")
    return (
        f"failures and restarts as in profile {profile.name}: {rate:.3g} per device-day, here one "
        f"every {format_seconds(every_s)}"
    )


def _price(scenario: Scenario) -> str | None:
    """Return the price that nobody named, if there is one."""
    economics = scenario.economics
    price = chosen_offer(economics, scenario.cluster.device.name)
    if price is None or economics.price is not None:
        return None
    whose = "the offer" if price in economics.offers else "the catalog's"
    term = f" for at least {format_seconds(price.committed_s)}" if price.committed_s else ""
    return f"${price.usd_per_device_hour:g} per device-hour{term}, {whose} {price.name}"


def _grid_by_default(economics: EconomicsSpec) -> bool:
    default = EconomicsSpec()
    return (economics.grid, economics.pue) == (default.grid, default.pue)
