"""Nodes taken away for repair: how often, for how long, and who pays meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from simulator.campaign.fleet import domain_nodes
from simulator.spec.cluster import ClusterSpec
from simulator.spec.reliability import FailureCause, ReliabilitySpec
from simulator.spec.units import DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """Means over all causes."""

    per_device_s: float
    """Rate at which a device is taken away, with all of its node."""
    repair_s: float
    """Until it is back, repairs that do not help included."""
    unpaid_share: float
    """Part of the time away in which nobody pays for it."""
    n_crews: float
    """Nodes that are repaired at once; infinite where all are."""


def removals(
    causes: Iterable[FailureCause],
    cluster: ClusterSpec,
    asked: ReliabilitySpec,
    *,
    usual_repair_s: float,
) -> Removals:
    """Return what causes take away; their rates are of events, whatever each of them strikes."""
    struck = domain_nodes(cluster, asked, cluster.n_nodes)
    rate, away, unpaid = 0.0, 0.0, 0.0
    for cause in causes:
        if cause.scope == "job":
            continue
        events = cause.failures_per_device_day + cause.failures_per_job_day / cluster.n_devices
        nodes = struck[cause.scope] + cause.followers
        taken = events * cause.repair_fraction * nodes / DAY_S
        rate += taken
        away += taken * (cause.repair_s or usual_repair_s)
        if cause.component == "preemption":
            unpaid += taken * (cause.repair_s or usual_repair_s)
    mean_s = away / rate if rate else usual_repair_s
    return Removals(
        per_device_s=rate,
        repair_s=mean_s / asked.repair_success,
        unpaid_share=unpaid / away if away else 0.0,
        n_crews=inf if asked.repair_crews is None else asked.repair_crews,
    )
