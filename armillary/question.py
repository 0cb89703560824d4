"""The question of a scenario, restated in words."""

from __future__ import annotations

from simulator.spec.scenario import Scenario
from simulator.spec.units import (
    format_bandwidth,
    format_count,
    format_power,
    format_seconds,
    format_usd,
)


def question(scenario: Scenario) -> str:
    """Return what is trained, on what, and with which goal."""
    model, job, cluster = scenario.model, scenario.job, scenario.cluster
    n_devices = scenario.n_devices
    where = f"{n_devices:,} x {cluster.device.name}"
    if cluster.n_nodes > 1:
        bandwidth = format_bandwidth(cluster.fabric.nic.bandwidth_bytes_per_s)
        where += f" ({cluster.n_nodes:,} nodes, {bandwidth} per device)"
    return (
        f"{model.name} on {where}: {format_count(job.tokens)} tokens, "
        f"{job.batch_sequences:,} x {job.sequence_length:,} a step, {job.precision}; "
        f"{_goal(scenario)}"
    )


def _goal(scenario: Scenario) -> str:
    goal = scenario.goal
    words = f"least {goal.minimize}"
    if goal.at_quantile is not None:
        words += f" that {goal.at_quantile:.3g} of single campaigns keep"
    if goal.finish_within is not None:
        words += f", within {format_seconds(goal.finish_within)}"
    if goal.budget is not None:
        words += f", for at most {format_usd(goal.budget)}"
    if goal.power_cap is not None:
        words += f", drawing at most {format_power(goal.power_cap)}"
    if scenario.target is not None:
        words += f", runnable by {scenario.target}"
    return words
