"""What a plan decides about failures, in place of what the scenario says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import IntArray
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.reliability import Recovery, ReliabilitySpec
from simulator.spec.scenario import Scenario


def decided(scenario: Scenario, plan: PlanSpec) -> Scenario:
    """Return the scenario with the spares, the recovery and the groups of the plan.

    `isolate` has its number of groups then; where there could be only one, all ranks start again
    together as under `wait`. Raises InputError where the scenario leaves a decision to the planner
    and the plan does not say it, and where groups would not hold whole copies on whole nodes.
    """
    of_plan = {
        "recovery": plan.recovery,
        "isolation_groups": plan.isolation_groups,
    }
    scenario = with_spares(scenario, plan.n_spare_nodes)
    scenario = with_reliability(scenario, **{k: v for k, v in of_plan.items() if v is not None})
    for name in ("spares", "recovery"):
        if getattr(scenario.reliability, name) == "best":
            raise InputError(
                f"{name} is left to the planner, and the plan does not say it",
                where=f"reliability.{name}",
                fix="let `armillary plan` write the plan",
            )
    if scenario.reliability.recovery != "isolate":
        return with_reliability(scenario, isolation_groups=None)
    groups = _groups(scenario, plan)
    recovery = "isolate" if groups > 1 else "wait"
    return with_reliability(scenario, recovery=recovery, isolation_groups=groups)


def _groups(scenario: Scenario, plan: PlanSpec) -> int:
    ranks = plan.dp_shard * plan.cp * plan.tp
    most = int(separable_groups(plan.dp_replicate, ranks, scenario.cluster.devices_per_node))
    asked = scenario.reliability.isolation_groups or most
    if most % asked:
        raise InputError(
            f"{asked} groups cannot fail apart: the {plan.dp_replicate} copies "
            f"(dp_replicate) of {plan.label()} make {most} groups of whole nodes",
            where="reliability.isolation_groups",
            fix=f"take a divisor of {most}, or set limits.dp_replicate",
        )
    return asked


def separable_groups(
    dp_replicate: npt.ArrayLike, ranks_per_copy: npt.ArrayLike, devices_per_node: int
) -> IntArray:
    """Return the most groups of whole copies that share no node; 1 where all do.

    `ranks_per_copy` are those of one pipeline stage, which are neighbours.
    """
    ranks = np.asarray(ranks_per_copy)
    copies_per_node = devices_per_node // np.gcd(ranks, devices_per_node)
    whole = np.asarray(dp_replicate) % copies_per_node == 0
    return np.asarray(np.where(whole, dp_replicate // copies_per_node, 1))


def droppable_copies(dp_replicate: npt.ArrayLike, dp_shard: npt.ArrayLike) -> IntArray:
    """Return into how many parts a plan can shrink: whole copies, or shards of the only one."""
    return np.where(np.asarray(dp_replicate) > 1, dp_replicate, dp_shard)


def with_reliability(scenario: Scenario, **changes: Any) -> Scenario:
    """Return the scenario with some fields of its reliability changed."""
    reliability = scenario.reliability.model_copy(update=changes)
    return scenario.model_copy(update={"reliability": reliability})


def with_spares(scenario: Scenario, n_spares: int | None) -> Scenario:
    """Return the scenario with so many spares; unchanged where None, or where pools count them."""
    if n_spares is None or scenario.reliability.spare_pools:
        return scenario
    return with_reliability(scenario, spares=n_spares)


def fixed_recovery(asked: ReliabilitySpec) -> Recovery:
    """Return the recovery of a scenario that does not leave it open."""
    assert asked.recovery != "best", "decided() comes first"
    return asked.recovery


def fixed_spares(asked: ReliabilitySpec) -> int | None:
    """Return the spares of a scenario that does not leave them open."""
    assert asked.spares != "best", "decided() comes first"
    return asked.n_spares if asked.spare_pools else asked.spares
