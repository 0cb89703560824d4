"""How many devices a plan may use: what limits, a quota and a power cap leave."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from planner.limits import allows
from simulator.campaign.power import power_terms
from simulator.campaign.spare_pools import spare_terms
from simulator.spec.choice import Within, listed
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_power

MOST_DEVICES = 1 << 20


def round_counts(per_node: int) -> list[int]:
    """Return the devices of 1, 2, 3, 4, 6, 8, 12 ... nodes."""
    counts = {per_node << k for k in range(21)} | {3 * per_node << k for k in range(20)}
    return sorted(count for count in counts if count <= MOST_DEVICES)


def by_count(scenario: Scenario) -> Iterator[Scenario]:
    """Yield the scenario with every number of devices that it allows, the most first.

    Of a range 1, 2, 3, 4, 6, 8, 12 ... nodes are tried, and all that its upper end allows. Raises
    InputError where the goal is met best by the fewest, and NoFeasiblePlan where none is left.
    """
    goal, counts = scenario.goal, _counts(scenario)
    if len(counts) > 1 and goal.minimize != "time" and goal.finish_within is None:
        raise InputError(
            f"goal: least {goal.minimize} over {counts[-1]:,} to {counts[0]:,} devices without a "
            "deadline is the fewest of them, however long they take",
            fix="set goal.finish_within, or limits.devices to one number",
        )
    powered = [count for count in counts if has_power(scenario, count)]
    if not powered:
        raise _without_power(scenario, counts[-1])
    for count in powered:
        limits = scenario.limits.model_copy(update={"devices": count})
        whole = scenario.limits.devices in (None, count)
        yield scenario if whole else scenario.model_copy(update={"limits": limits})


def has_power(scenario: Scenario, n_devices: int) -> bool:
    """Return whether a job on so many devices stays within the goal's power cap."""
    cap_w = scenario.goal.power_cap
    return cap_w is None or _drawn_w(scenario, n_devices) <= cap_w


def _counts(scenario: Scenario) -> list[int]:
    """Return the numbers of devices that the limits allow, the most first."""
    asked, n_devices = scenario.limits.devices, scenario.cluster.n_devices
    if not isinstance(asked, Within):
        return sorted(set(listed(asked)) or {n_devices}, reverse=True)
    per_node = scenario.cluster.devices_per_node
    most = min(asked.max or n_devices, n_devices)
    counts = np.array(sorted({*round_counts(per_node), most - most % per_node}, reverse=True))
    left: list[int] = counts[allows(asked, counts) & (counts > 0) & (counts <= most)].tolist()
    if not left:
        raise InputError(
            f"limits.devices: none of the {n_devices:,} devices of the cluster in whole nodes of "
            f"{per_node} is allowed"
        )
    return left


def _drawn_w(scenario: Scenario, n_devices: int) -> float:
    """Draw of the site with the nodes of so many devices busy, and the spares that are asked for.

    Where their number is left open there may be none.
    """
    cluster, asked = scenario.cluster, scenario.reliability
    power = power_terms(cluster, scenario.economics, cold_spares=spare_terms(asked).cold_share)
    if power is None:
        raise InputError(
            f"goal.power_cap: no power is known for {cluster.device.name}",
            fix="set economics.device_power",
        )
    per_node = cluster.devices_per_node
    return power.at_meter_w(-(-n_devices // per_node) * per_node, asked.n_spares * per_node)


def _without_power(scenario: Scenario, n_devices: int) -> NoFeasiblePlan:
    per_node, n_spares = scenario.cluster.devices_per_node, scenario.reliability.n_spares
    cap_w, spares_w = scenario.goal.power_cap or 0.0, _drawn_w(scenario, 0)
    node_w = _drawn_w(scenario, per_node) - spares_w
    n_nodes = int((cap_w - spares_w) / node_w)
    if n_nodes > 0:
        fix = f"set limits.devices={{max: {n_nodes * per_node}}}, which is what it carries, or "
        fix += "cluster.power_limit_w"
    else:
        fix = f"allow {format_power(spares_w + node_w)}, what one node draws"
        fix += ", or have fewer spares" if n_spares else ""
    beside = f" beside {n_spares:,} spare nodes" if n_spares else ""
    return NoFeasiblePlan(
        f"{n_devices:,} busy devices{beside} draw {format_power(_drawn_w(scenario, n_devices))} at "
        f"the meter, and goal.power_cap is {format_power(cap_w)}",
        fix=fix,
    )
