"""What a scenario says about failures, storage, power and money, resolved to plain numbers once."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.catalog import default_price, find_failure_profile, find_grid, find_price
from simulator.spec.cluster import ClusterSpec
from simulator.spec.scenario import EconomicsSpec, ReliabilitySpec, Scenario

DAY_S = 86400.0

DEVICE_IDLE_SHARE = 63 / 400
"""Idle over busy power of a device: A100 in idle mode (InternLM/AcmeTrace, Kalos)."""
HOST_IDLE_SHARE = (1512 - 8 * 63) / (5040 - 8 * 400)
"""The same for the rest of a node: 8xA100 server P10 and P95 less its devices (Acme, Seren)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTerms:
    """Draw of one device with its share of the host, before the facility's overhead."""

    busy_w: float
    idle_w: float
    pue: float
    kg_co2_per_kwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTerms:
    """Everything about a campaign that does not depend on the plan."""

    n_steps: int
    devices_per_node: int
    failures_per_device_s: float
    restart_s: float
    """Failure to training again, detection included, lost work not."""
    startup_s: float
    """First device to first step."""
    repair_s: float
    repair_fraction: float
    n_spare_nodes: int | None
    """None: replacements are always at hand and cost nothing."""
    device_copy_bytes_per_s: float
    node_write_bytes_per_s: float
    store_write_bytes_per_s: float
    checkpoint_stall_s: float | None
    """Overrides the copy time where the user knows better."""
    usd_per_device_hour: float | None
    power: PowerTerms | None
    assumptions: tuple[str, ...]


def campaign_terms(scenario: Scenario) -> CampaignTerms:
    """Resolve profiles and defaults of a scenario. Raises InputError for unknown names."""
    cluster, asked = scenario.cluster, scenario.reliability
    profile = find_failure_profile(asked.profile, where="reliability.profile")
    rate_per_day = _first(asked.failures_per_device_day, profile.failures_per_device_day)
    price = _price(cluster, scenario.economics)
    power = _power(cluster, scenario.economics)
    return CampaignTerms(
        n_steps=scenario.job.n_steps,
        devices_per_node=cluster.devices_per_node,
        failures_per_device_s=rate_per_day / DAY_S,
        restart_s=_first(asked.restart_s, profile.detection_s + profile.restart_s),
        startup_s=_first(asked.restart_s, profile.restart_s),
        repair_s=_first(asked.repair_s, profile.repair_s),
        repair_fraction=profile.repair_fraction,
        n_spare_nodes=asked.spares,
        device_copy_bytes_per_s=cluster.host.device_copy_bandwidth_bytes_per_s,
        node_write_bytes_per_s=_node_write_bytes_per_s(cluster),
        store_write_bytes_per_s=_first(
            asked.checkpoint_write_bandwidth_bytes_per_s,
            profile.checkpoint_write_bandwidth_bytes_per_s,
        ),
        checkpoint_stall_s=asked.checkpoint_stall_s,
        usd_per_device_hour=price,
        power=power,
        assumptions=_assumptions(cluster, asked, price, power),
    )


def _first(wanted: float | None, default: float) -> float:
    return default if wanted is None else wanted


def _node_write_bytes_per_s(cluster: ClusterSpec) -> float:
    if cluster.fabric.kind == "none":  # the store is the machine's own disk
        return float("inf")
    nics = cluster.fabric.nics_per_node or cluster.devices_per_node
    return cluster.fabric.nic.bandwidth_bytes_per_s * nics


def _price(cluster: ClusterSpec, economics: EconomicsSpec) -> float | None:
    if economics.usd_per_device_hour is not None:
        return economics.usd_per_device_hour
    if economics.price is not None:
        return find_price(economics.price, where="economics.price").usd_per_device_hour
    price = default_price(cluster.device.name)
    return None if price is None else price.usd_per_device_hour


def _power(cluster: ClusterSpec, economics: EconomicsSpec) -> PowerTerms | None:
    device = cluster.device
    busy_w = economics.device_power or device.tdp_w
    if busy_w == 0:
        return None
    host_w = cluster.host.power_w / cluster.devices_per_node
    grid_kg = find_grid(economics.grid, where="economics.grid").kg_co2_per_kwh
    return PowerTerms(
        busy_w=busy_w + host_w,
        idle_w=(device.idle_w or DEVICE_IDLE_SHARE * busy_w) + HOST_IDLE_SHARE * host_w,
        pue=economics.pue,
        kg_co2_per_kwh=_first(economics.kg_co2_per_kwh, grid_kg),
    )


def _assumptions(
    cluster: ClusterSpec,
    asked: ReliabilitySpec,
    price: float | None,
    power: PowerTerms | None,
) -> tuple[str, ...]:
    unsaid = (
        (asked.spares is None, "a replacement node is always at hand and costs nothing"),
        (price is None, f"no price is known for {cluster.device.name}: cost left out"),
        (power is None, f"no power is known for {cluster.device.name}: energy left out"),
        (
            power is not None and cluster.host.power_w == 0,
            "power of the hosts is unknown: energy counts the devices only",
        ),
    )
    return tuple(sentence for applies, sentence in unsaid if applies)
