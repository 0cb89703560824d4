"""What a scenario says about failures, storage, power and money, resolved to plain numbers once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.campaign.assumptions import campaign_assumptions
from simulator.campaign.causes import (
    first_surviving,
    replayed_causes,
    resolve_causes,
    with_rates,
)
from simulator.campaign.checkpoint_size import checkpoint_bytes
from simulator.campaign.decided import fixed_recovery, fixed_spares
from simulator.campaign.fleet import domain_nodes
from simulator.campaign.money import MoneyTerms, money_terms
from simulator.campaign.power import PowerTerms, power_terms
from simulator.campaign.removals import Removals, removals
from simulator.campaign.spare_pools import SpareTerms, spare_terms
from simulator.catalog import find_failure_profile
from simulator.cost.plan_table import FloatArray
from simulator.spec.cluster import ClusterSpec
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.job import JobSpec
from simulator.spec.profiles import FailureProfile
from simulator.spec.reliability import (
    MAX_FAILURES_PER_DAY,
    CheckpointTier,
    FailureCause,
    Outage,
    Recovery,
    ReliabilitySpec,
    Scope,
)
from simulator.spec.scenario import Scenario
from simulator.spec.units import DAY_S
from simulator.step.slowest import expected_normal_maximum

USUALLY_KEPT = 2
"""Checkpoints that are stored where nobody says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Events per second: those of every device, and those of a job of any size."""

    per_device_s: float = 0.0
    per_job_s: float = 0.0

    def of_job(self, n_devices: FloatArray) -> FloatArray:
        """Return the rate of jobs on so many devices."""
        return n_devices * self.per_device_s + self.per_job_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTerms:
    """One place for checkpoints, and the failures after which it is read."""

    spec: CheckpointTier
    failures: Rate
    """Unplanned ones that no nearer tier survives."""
    undone_s: float
    """Mean time before such a failure whose work is lost too: corruption that nobody noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTerms:
    """Everything about a campaign that does not depend on the plan."""

    job: JobSpec
    devices_per_node: int
    cores_per_node: int
    input: InputSpec | None
    """None: data are always there."""
    causes: tuple[FailureCause, ...]
    replayed: dict[str, FailureCause]
    """Those of recorded outages, by class."""
    failures: Rate
    """Of all causes that stop the job without warning."""
    isolated: Rate
    """Of those which stop only a replica group and leave the others running."""
    recovery: Recovery
    slow: tuple[FailureCause, ...]
    """Those that slow devices or links down, with their rates of events."""
    warned: Rate
    """Of the stops with enough warning to save first, slow nodes taken away among them."""
    planned_share: float
    """Part of those that is planned maintenance."""
    restart_s: float
    """Failure to training again for a mean cause, detection included, lost work not."""
    restart_s_per_device: float
    loads_at_restart: bool
    """Whether reading the checkpoint comes on top of the restart."""
    startup_s: float
    """First device to first step."""
    usual_repair_s: float
    """Mean time of a repair where its cause does not say."""
    removals: Removals
    spares: SpareTerms
    n_spare_nodes: int | None
    """None: replacements are always at hand and cost nothing."""
    slowdown: float
    """Mean step time over that of healthy devices: flaps, jitter."""
    tiers: tuple[TierTerms, ...]
    device_copy_bytes_per_s: float
    node_write_bytes_per_s: float
    checkpoint_stall_s: float | None
    """Overrides the copy time where the user knows better."""
    stored_bytes: float
    """Dataset and the checkpoints that the safest tier keeps, two where it does not say."""
    money: MoneyTerms | None
    power: PowerTerms | None
    assumptions: tuple[str, ...]

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.job.n_steps


def campaign_terms(scenario: Scenario) -> CampaignTerms:
    """Resolve profiles and defaults of a scenario. Raises InputError for unknown names."""
    cluster, asked = scenario.cluster, scenario.reliability
    profile = find_failure_profile(asked.profile, where="reliability.profile")
    causes = resolve_causes(asked, profile)
    replayed = replayed_causes(asked, profile)
    events = (
        *(_as_events(cause, asked) for cause in causes),
        *(_at_mean_rate(cause, asked.replay) for cause in replayed.values()),
    )
    sudden = tuple(cause for cause in events if cause.effect != "slow" and cause.notice_s == 0)
    warned = tuple(
        _evicted(cause) if cause.effect == "slow" else cause
        for cause in events
        if cause.effect == "slow" or cause.notice_s > 0
    )
    apart = tuple(
        cause
        for cause in sudden
        if asked.recovery == "isolate" and cause.scope != "job" and cause.effect == "stop"
    )
    together = tuple(cause for cause in sudden if cause not in apart)
    base_s, per_device_s = restart_parts(asked, profile)
    usual_repair_s = _first(asked.repair_s, profile.repair_s)
    n_devices = scenario.n_devices
    spares = spare_terms(asked)
    struck = domain_nodes(cluster, asked, cluster.n_nodes)
    stored_bytes = _stored_bytes(scenario)
    store = _first(
        asked.checkpoint_write_bandwidth_bytes_per_s, profile.store_bytes_per_s(n_devices)
    )
    money = money_terms(cluster, scenario.economics, stored_bytes=stored_bytes)
    power = power_terms(cluster, scenario.economics, cold_spares=spares.cold_share)
    return CampaignTerms(
        job=scenario.job,
        devices_per_node=cluster.devices_per_node,
        cores_per_node=cluster.host.n_cores,
        input=scenario.input,
        causes=causes,
        replayed=replayed,
        failures=_rate(sudden),
        isolated=_rate(apart),
        recovery=fixed_recovery(asked),
        slow=tuple(cause for cause in events if cause.effect == "slow"),
        warned=_rate(warned),
        planned_share=_mean(warned, [float(cause.planned) for cause in warned], n_devices),
        restart_s=base_s
        + _mean(sudden, [_before_restart_s(spares, struck, cause) for cause in sudden], n_devices),
        restart_s_per_device=per_device_s,
        loads_at_restart=asked.restart is not None,
        startup_s=base_s,
        usual_repair_s=usual_repair_s,
        removals=removals((*sudden, *warned), cluster, asked, usual_repair_s=usual_repair_s),
        spares=spares,
        n_spare_nodes=fixed_spares(asked),
        slowdown=_slowdown(asked, cluster.n_devices),
        tiers=_tiers(asked, store, together, n_devices),
        device_copy_bytes_per_s=cluster.host.device_copy_bandwidth_bytes_per_s,
        node_write_bytes_per_s=_node_write_bytes_per_s(cluster),
        checkpoint_stall_s=asked.checkpoint_stall_s,
        stored_bytes=stored_bytes,
        money=money,
        power=power,
        assumptions=campaign_assumptions(
            scenario, profile, store_bytes_per_s=store, money=money, power=power
        ),
    )


def _slowdown(asked: ReliabilitySpec, n_devices: int) -> float:
    flaps = asked.flaps_per_device_day / DAY_S * asked.flap_stall_s * n_devices
    if asked.step_jitter == 0:
        return 1 + flaps
    return 1 + flaps + asked.step_jitter * float(expected_normal_maximum(n_devices))


def restart_parts(asked: ReliabilitySpec, profile: FailureProfile) -> tuple[float, float]:
    """Detection to training again: a constant, and what every device adds."""
    if asked.restart is None:
        return _first(asked.restart_s, profile.restart_s), 0.0
    parts = asked.restart
    fixed_s = parts.drain_s + parts.schedule_s + parts.init_s + parts.catch_up_s
    return fixed_s, parts.init_s_per_device


def _first(wanted: float | None, default: float) -> float:
    return default if wanted is None else wanted


def _before_restart_s(spares: SpareTerms, struck: dict[Scope, int], cause: FailureCause) -> float:
    """Return how long a stop goes unnoticed, plus the swap where it takes nodes away."""
    n_nodes = round(struck[cause.scope] + cause.followers)
    swap_s = 0.0 if cause.scope == "job" else spares.swap_s(n_nodes) * cause.repair_fraction
    if cause.effect == "corrupt":  # noticed late, but by a running job
        return swap_s
    return swap_s + (cause.detection_s or 0.0)


def _as_events(cause: FailureCause, asked: ReliabilitySpec) -> FailureCause:
    """Return a cause with its rate of events, lemons included.

    A burst is one event; only what happens to a node happens more often to a lemon.
    """
    lemons = 1.0
    if cause.scope != "job":
        lemons += sum(cohort.share * (cohort.rate_factor - 1) for cohort in asked.cohorts)
    factor = lemons / (1 + cause.followers)
    return with_rates(cause, factor)


def _at_mean_rate(cause: FailureCause, outages: tuple[Outage, ...]) -> FailureCause:
    """Return the cause of a class of recorded outages as a random one of their mean rate."""
    days = max(1.0, max(outage.end_s for outage in outages) / DAY_S)
    away_s = [outage.end_s - outage.start_s for outage in outages if outage.cause == cause.name]
    mean_s = max(sum(away_s) / len(away_s), 1.0)
    return cause.model_copy(
        update={
            "failures_per_device_day": 0.0,
            "failures_per_job_day": min(MAX_FAILURES_PER_DAY, len(away_s) / days),
            "repair_s": mean_s,
            "lasts_s": mean_s if cause.effect == "slow" else cause.lasts_s,
        }
    )


def _evicted(cause: FailureCause) -> FailureCause:
    """Return the share of slow events that last until they are noticed and their node taken away.

    They last an exponential time.
    """
    noticed_s = cause.detection_s or math.inf
    return with_rates(cause, math.exp(-noticed_s / cause.lasts_s))


def _rate(causes: tuple[FailureCause, ...]) -> Rate:
    return Rate(
        per_device_s=sum(cause.failures_per_device_day for cause in causes) / DAY_S,
        per_job_s=sum(cause.failures_per_job_day for cause in causes) / DAY_S,
    )


def _mean(causes: tuple[FailureCause, ...], values: list[float], n_devices: int) -> float:
    """Mean over causes, weighted by their rates in a job on so many devices."""
    weights = [c.failures_per_device_day * n_devices + c.failures_per_job_day for c in causes]
    total = sum(weights)
    return sum(w * v for w, v in zip(weights, values, strict=True)) / total if total else 0.0


def _tiers(
    asked: ReliabilitySpec,
    store_bytes_per_s: float,
    sudden: tuple[FailureCause, ...],
    n_devices: int,
) -> tuple[TierTerms, ...]:
    store = CheckpointTier(
        name="store",
        survives="region",
        write_bandwidth_bytes_per_s=store_bytes_per_s,
        shared=True,
    )
    tiers = asked.checkpoint_tiers or (store,)
    survives = tuple(tier.survives for tier in tiers)
    read_by = [
        tuple(cause for cause in sudden if _tier_of(survives, cause) == position)
        for position in range(len(tiers))
    ]
    return tuple(
        TierTerms(
            spec=tier,
            failures=_rate(causes),
            undone_s=_mean(
                causes,
                [
                    cause.detection_s or 0.0 if cause.effect == "corrupt" else 0.0
                    for cause in causes
                ],
                n_devices,
            ),
        )
        for tier, causes in zip(tiers, read_by, strict=True)
    )


def _tier_of(survives: tuple[Scope, ...], cause: FailureCause) -> int:
    # Only the safest tier keeps states from before a corruption was noticed.
    if cause.effect == "corrupt":
        return len(survives) - 1
    return first_surviving(survives, cause.scope)


def _node_write_bytes_per_s(cluster: ClusterSpec) -> float:
    if cluster.fabric.kind == "none":  # the store is the machine's own disk
        return float("inf")
    nics = cluster.fabric.nics_per_node or cluster.devices_per_node
    return cluster.fabric.nic.bandwidth_bytes_per_s * nics


def _stored_bytes(scenario: Scenario) -> float:
    """Return the size of the dataset and of the checkpoints that the safest tier keeps."""
    dataset = 0.0 if scenario.input is None else scenario.input.dataset_bytes
    tiers = scenario.reliability.checkpoint_tiers
    kept = (tiers[-1].keep if tiers else None) or USUALLY_KEPT
    return dataset + kept * checkpoint_bytes(scenario.model, scenario.job)
