"""What `armillary check` prints: the question as it was understood."""

from __future__ import annotations

from armillary.screens.wrapping import wrapped
from simulator import catalog
from simulator.campaign.causes import resolve_causes
from simulator.catalog.offers import chosen_offer
from simulator.cost.parameters import count_parameters
from simulator.spec.choice import choice_text
from simulator.spec.plan import PlanSpec
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import Scenario
from simulator.spec.units import DAY_S, format_bandwidth, format_bytes, format_count, format_seconds


def check_screen(scenario: Scenario, plan: PlanSpec | None = None) -> str:
    """Return every part of a valid scenario in a line or two, and the plan if there is one."""
    measured = scenario.cluster.calibration is not None
    parts = {
        "model": _model(scenario),
        "cluster": _cluster(scenario),
        "numbers": str(scenario.cluster.basis) + ("" if measured else ", not of this very cluster"),
        "job": _job(scenario),
        "goal": "least " + _fields(scenario, "goal").removeprefix("minimize "),
        "limits": _fields(scenario, "limits"),
        "reliability": _reliability(scenario),
        "economics": _economics(scenario),
        "target": scenario.target or "any",
        "seed": str(scenario.seed),
    }
    if plan is not None:
        parts["plan"] = plan.label()
    lines = [f"{scenario.name} is valid", ""]
    for name, text in parts.items():
        lines += wrapped(text, first=f"{name:<13}", rest=" " * 13)
    return "\n".join(lines)


def _model(scenario: Scenario) -> str:
    model = scenario.model
    count = count_parameters(model)
    total, active = count.total - count.mtp, count.active - count.mtp_active
    text = f"{model.name}: {format_count(total)} parameters"
    if active < total:
        text += f", {format_count(active)} of them active"
    return f"{text}, {model.n_layers} layers of {model.hidden_size:,}"


def _cluster(scenario: Scenario) -> str:
    cluster, device = scenario.cluster, scenario.cluster.device
    text = (
        f"{cluster.n_devices:,} x {device.name} of {format_bytes(device.memory_bytes)}: "
        f"{cluster.n_nodes:,} x {cluster.devices_per_node}"
    )
    if cluster.n_nodes == 1:
        return text
    bandwidth = format_bandwidth(cluster.fabric.nic.bandwidth_bytes_per_s)
    return f"{text}, fabric {cluster.fabric.name} ({bandwidth} per device)"


def _job(scenario: Scenario) -> str:
    job = scenario.job
    return (
        f"{format_count(job.tokens)} tokens in {job.n_steps:,} steps of "
        f"{job.batch_sequences:,} x {job.sequence_length:,}, {job.precision}, {job.optimizer}, "
        f"software {job.software}"
    )


def _fields(scenario: Scenario, section: str) -> str:
    """Return what a section sets, or 'none'."""
    values = [(field, value) for field, value in getattr(scenario, section) if value is not None]
    return ", ".join(f"{field} {_value(field, value)}" for field, value in values) or "none"


def _value(field: str, value: object) -> str:
    return format_seconds(float(str(value))) if field == "finish_within" else choice_text(value)


def _reliability(scenario: Scenario) -> str:
    asked = scenario.reliability
    profile = catalog.find_failure_profile(asked.profile)
    n_devices = scenario.cluster.n_devices
    rate = sum(
        cause.failures_per_device_day + cause.failures_per_job_day / n_devices
        for cause in resolve_causes(asked, profile)
        if cause.effect != "slow"
    )
    every = f" (one in {format_seconds(DAY_S / (rate * n_devices))})" if rate else ""
    return f"{profile.name}, {rate:.3g} failures per device-day{every}, {_spares(asked)}"


def _spares(asked: ReliabilitySpec) -> str:
    if asked.spare_pools:
        pools = " + ".join(f"{pool.nodes} {pool.kind}" for pool in asked.spare_pools)
        return f"{pools} spares"
    return "a replacement always at hand" if asked.spares is None else f"{asked.spares} spares"


def _economics(scenario: Scenario) -> str:
    asked = scenario.economics
    price = chosen_offer(asked, scenario.cluster.device.name)
    if asked.own is not None:
        money = (
            f"hardware of ${asked.own.usd_per_device:g} a device over {asked.own.years:g} years, "
            f"${asked.own.usd_per_kwh:g} per kWh"
        )
    elif asked.price_series:
        prices = [step.usd_per_device_hour for step in asked.price_series]
        money = f"{len(prices)} prices, ${min(prices):g} to ${max(prices):g} per device-hour"
    elif asked.usd_per_device_hour is not None:
        money = f"${asked.usd_per_device_hour:g} per device-hour"
    elif price is not None:
        money = f"${price.usd_per_device_hour:g} per device-hour ({price.name})"
    else:
        money = "no price known"
    return f"{money}, grid {asked.grid}, PUE {asked.pue:g}"
