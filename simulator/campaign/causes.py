"""The causes of failure of one scenario with their rates, and the checkpoints that survive them."""

from __future__ import annotations

from simulator.spec.errors import InputError
from simulator.spec.profiles import FailureProfile
from simulator.spec.reliability import SCOPES, FailureCause, LifePhase, ReliabilitySpec, Scope
from simulator.spec.units import format_seconds


def resolve_causes(asked: ReliabilitySpec, profile: FailureProfile) -> tuple[FailureCause, ...]:
    """Return every cause that can strike, its rate and its detection time said outright.

    The scenario's own causes replace the profile's; `failures_per_device_day` scales them so that
    those which stop a job add up to it; `more_causes` come on top, and `failure_factor` is on all.
    Raises InputError for a repair that is faster than its detection.
    """
    if not asked.random_failures:
        return ()
    causes = tuple(
        cause
        for cause in _all_causes(asked, profile)
        if cause.failures_per_device_day + cause.failures_per_job_day > 0
    )
    _require_order(causes, asked.repair_s or profile.repair_s)
    return causes


def outright(asked: ReliabilitySpec, profile: FailureProfile) -> ReliabilitySpec:
    """Return the same failures with every cause and rate said outright: nothing scales them."""
    strikes = 1.0 if asked.random_failures else 0.0
    causes = tuple(with_rates(cause, strikes) for cause in _all_causes(asked, profile))
    return asked.model_copy(
        update={
            "causes": causes,
            "more_causes": (),
            "failures_per_device_day": None,
            "failure_factor": 1.0,
            "random_failures": True,
        }
    )


def replayed_causes(asked: ReliabilitySpec, profile: FailureProfile) -> dict[str, FailureCause]:
    """Return the cause of every class of recorded outages.

    A class that is called like a cause is noticed, warned of and booked like it, but strikes the
    recorded node alone; any other one is a stop that is noticed at once.
    """
    known = {cause.name: cause for cause in _all_causes(asked, profile)}
    alone = {"scope": "node", "followers": 0.0, "repair_fraction": 1.0, "life": (LifePhase(),)}
    names = dict.fromkeys(outage.cause for outage in asked.replay)
    return {
        name: known[name].model_copy(update=alone)
        if name in known
        else FailureCause(name=name, detection_s=0.0)
        for name in names
    }


def _all_causes(asked: ReliabilitySpec, profile: FailureProfile) -> tuple[FailureCause, ...]:
    """Return every cause that is named, its rate and its detection time said outright."""
    base = asked.causes or profile.causes or (_any_cause(profile),)
    if asked.failures_per_device_day is not None:
        total = sum(cause.failures_per_device_day for cause in base if cause.effect != "slow")
        if total == 0:
            base, total = (_any_cause(profile, 1.0),), 1.0
        factor = asked.failures_per_device_day / total
        base = tuple(
            cause.model_copy(
                update={"failures_per_device_day": cause.failures_per_device_day * factor}
            )
            for cause in base
        )
    every = tuple(with_rates(cause, asked.failure_factor) for cause in (*base, *asked.more_causes))
    # A restart given as one number includes detection where a cause does not say its own.
    usual_s = 0.0 if asked.restart_s is not None else profile.detection_s
    return tuple(
        cause
        if cause.detection_s is not None
        else cause.model_copy(update={"detection_s": usual_s})
        for cause in every
    )


def with_rates(cause: FailureCause, factor: float) -> FailureCause:
    """Return a cause that strikes `factor` times as often."""
    return cause.model_copy(
        update={
            "failures_per_device_day": cause.failures_per_device_day * factor,
            "failures_per_job_day": cause.failures_per_job_day * factor,
        }
    )


def _require_order(causes: tuple[FailureCause, ...], usual_repair_s: float) -> None:
    """Raise InputError where nodes would be back before anybody noticed that they had failed."""
    for cause in causes:
        repair_s, noticed_s = cause.repair_s or usual_repair_s, cause.detection_s or 0.0
        removes = cause.scope != "job" and cause.repair_fraction > 0
        if cause.effect == "stop" and removes and repair_s < noticed_s:
            raise InputError(
                f"{cause.name} is repaired after {format_seconds(repair_s)} and noticed after "
                f"{format_seconds(noticed_s)}: nothing is repaired before it is noticed",
                where="reliability.repair_s" if cause.repair_s is None else "reliability.causes",
                fix="give the time from the failure until the node is back",
            )


def _any_cause(profile: FailureProfile, rate: float | None = None) -> FailureCause:
    return FailureCause(
        name="any",
        failures_per_device_day=profile.failures_per_device_day if rate is None else rate,
        repair_fraction=profile.repair_fraction,
    )


def first_surviving(tiers: tuple[Scope, ...], lost: Scope) -> int:
    """Position of the nearest tier that survives the loss; the last one survives everything."""
    for position, survives in enumerate(tiers):
        if SCOPES.index(survives) >= SCOPES.index(lost):
            return position
    return len(tiers) - 1
