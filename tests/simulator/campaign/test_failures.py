from collections import Counter
from itertools import takewhile

import numpy as np
import pytest

from simulator.campaign.causes import replayed_causes
from simulator.campaign.failures import Failure, failure_stream, recorded_failures
from simulator.campaign.fleet import Cohorts, Fleet
from simulator.catalog import find_failure_profile
from simulator.spec.reliability import CohortSpec, FailureCause, LifePhase, Outage, ReliabilitySpec

DAY_S = 86400.0
LLAMA3 = find_failure_profile("llama3-16k-h100")


def fleet_of(n_nodes: int, *, n_spares: int = 0, devices_per_node: int = 1) -> Fleet:
    return Fleet(
        n_nodes=n_nodes,
        n_spares=n_spares,
        endless_spares=False,
        devices_per_node=devices_per_node,
        domain_nodes={"job": 1, "node": 1, "rack": 2, "pod": 384, "region": n_nodes},
    )


def failures_in(
    days: float,
    causes: tuple[FailureCause, ...],
    fleet: Fleet,
    *,
    cohorts: tuple[CohortSpec, ...] = (),
    recorded: tuple[Failure, ...] = (),
    seed: int = 0,
) -> list[Failure]:
    stream = failure_stream(
        causes,
        fleet,
        Cohorts.of(cohorts, fleet.n_units),
        recorded,
        np.random.SeedSequence(seed),
    )
    return list(takewhile(lambda failure: failure.time_s < days * DAY_S, stream))


def test_fifty_four_days_of_llama_3_have_about_419_failures() -> None:
    cause = FailureCause(name="any", failures_per_device_day=0.4736e-3)
    fleet = fleet_of(2048, devices_per_node=8)
    counts = [len(failures_in(54, (cause,), fleet, seed=seed)) for seed in range(40)]
    assert all(abs(count - 419) < 3.5 * np.sqrt(419) for count in counts)
    assert np.mean(counts) == pytest.approx(419, abs=3 * np.sqrt(419 / 40))


def test_failures_come_in_the_order_of_time_and_within_the_fleet() -> None:
    causes = (
        FailureCause(name="old", failures_per_device_day=0.05, life=(LifePhase(shape=3),)),
        FailureCause(name="any", failures_per_device_day=0.05),
    )
    found = failures_in(30, causes, fleet_of(50, n_spares=10))
    times = [failure.time_s for failure in found]
    assert times == sorted(times)
    assert {failure.node for failure in found} == set(range(60))
    assert {failure.cause.name for failure in found} == {"old", "any"}


@pytest.mark.parametrize(("shape", "expected"), [(0.7, 240), (1.0, 99), (1.5, 27)])
def test_ages_survive(shape: float, expected: float) -> None:
    # 1,000 new units over a tenth of their mean life, replaced as they fail. Redrawing all ages at
    # every failure would give 1,937 and 9.
    mean_days = 100.0
    cause = FailureCause(
        name="part", failures_per_device_day=1 / mean_days, life=(LifePhase(shape=shape),)
    )
    counts = [
        len(failures_in(mean_days / 10, (cause,), fleet_of(1000), seed=seed)) for seed in range(20)
    ]
    assert np.mean(counts) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("shape", "expected"), [(0.7, 1419), (1.0, 413.7), (2.0, 8.4)])
def test_first_failures_of_a_new_fleet(shape: float, expected: float) -> None:
    # n (1 - exp(-(t / scale)^shape)) of 16,384 devices of 5.78 years mean life, after 54 days.
    rate = 1 / (5.78 * 365.25)
    cause = FailureCause(name="part", failures_per_device_day=rate, life=(LifePhase(shape=shape),))
    fleet = fleet_of(16_384)
    failed = [
        len({failure.node for failure in failures_in(54, (cause,), fleet, seed=seed)})
        for seed in range(20)
    ]
    assert np.mean(failed) == pytest.approx(expected, abs=3.5 * np.sqrt(expected / 20))


def test_old_parts_with_infant_mortality_fail_less() -> None:
    cause = FailureCause(name="part", failures_per_device_day=0.01, life=(LifePhase(shape=0.5),))
    new = failures_in(10, (cause,), fleet_of(1000))
    old_cohort = (CohortSpec(name="old", share=1.0, age_s=200 * DAY_S),)
    old = failures_in(10, (cause,), fleet_of(1000), cohorts=old_cohort)
    assert len(old) < len(new) / 3


def test_cohorts_keep_their_own_ages() -> None:
    cause = FailureCause(name="part", failures_per_device_day=0.01, life=(LifePhase(shape=4),))
    cohorts = (
        CohortSpec(name="young", share=0.5, age_s=0),
        CohortSpec(name="worn", share=0.5, age_s=100 * DAY_S),
    )
    fleet = fleet_of(1000)
    dealt = Cohorts.of(cohorts, 1000)
    worn = set(dealt.units(dealt.members[1].first + np.arange(500)).tolist())
    found = failures_in(10, (cause,), fleet, cohorts=cohorts)
    assert sum(failure.node in worn for failure in found) > 0.95 * len(found)


def test_a_bathtub_is_the_sum_of_its_phases() -> None:
    life = (
        LifePhase(share=0.2, shape=0.5),
        LifePhase(share=0.4, shape=1),
        LifePhase(share=0.4, shape=5),
    )
    cause = FailureCause(name="part", failures_per_device_day=0.001, life=life)
    found = failures_in(8000, (cause,), fleet_of(300))
    # Failures per 50 days: the first ones, the bottom, and around the mean life of what wears out.
    counts = np.histogram([failure.time_s / DAY_S for failure in found], bins=160)[0]
    early, middle, late = counts[0], counts[10:25].mean(), counts[40:60].mean()
    assert early > 1.5 * middle
    assert late > 1.15 * middle


def test_lemons_fail_more_and_raise_the_rate() -> None:
    cause = FailureCause(name="any", failures_per_device_day=0.01)
    lemons = (CohortSpec(name="lemon", share=0.02, rate_factor=20),)
    fleet = fleet_of(1000)
    found = failures_in(100, (cause,), fleet, cohorts=lemons)
    assert len(found) == pytest.approx(1000 * (0.98 + 0.02 * 20), rel=0.08)
    worst = [count for _, count in Counter(f.node for f in found).most_common(20)]
    assert sum(worst) == pytest.approx(400, rel=0.2)


def test_bursts_keep_the_mean_and_take_neighbours() -> None:
    alone = FailureCause(name="any", failures_per_device_day=0.05)
    burst = alone.model_copy(update={"followers": 3.0})
    fleet = fleet_of(1000)
    single = len(failures_in(60, (alone,), fleet))
    bursts = failures_in(60, (burst,), fleet)
    struck = sum(1 + failure.n_followers for failure in bursts)
    assert struck == pytest.approx(single, rel=0.1)
    assert len(bursts) == pytest.approx(single / 4, rel=0.1)


def test_some_events_need_a_restart_only() -> None:
    cause = FailureCause(name="any", failures_per_device_day=0.05, repair_fraction=0.25)
    found = failures_in(60, (cause,), fleet_of(1000))
    assert np.mean([failure.removes for failure in found]) == pytest.approx(0.25, abs=0.03)
    job = FailureCause(name="bug", failures_per_job_day=5.0, scope="job")
    found = failures_in(60, (job,), fleet_of(1000, n_spares=500))
    assert len(found) == pytest.approx(300, abs=60)
    assert not any(failure.removes for failure in found)


def test_recorded_outages_mix_with_random_ones() -> None:
    outages = (
        Outage(node=7, start_s=500, end_s=900, cause="fan"),
        Outage(node=3, start_s=100, end_s=400),
    )
    causes = replayed_causes(ReliabilitySpec(replay=outages), LLAMA3)
    recorded = recorded_failures(outages, causes)
    alone = failures_in(1, (), fleet_of(10), recorded=recorded)
    assert [(f.time_s, f.node, f.cause.name, f.back_s) for f in alone] == [
        (100, 3, "recorded", 400),
        (500, 7, "fan", 900),
    ]
    cause = FailureCause(name="any", failures_per_device_day=10)
    mixed = failures_in(1, (cause,), fleet_of(10), recorded=recorded)
    assert {"fan", "recorded", "any"} == {failure.cause.name for failure in mixed}


def test_nothing_fails_where_nothing_can() -> None:
    assert failures_in(1e6, (), fleet_of(10)) == []


def test_the_same_seed_is_the_same_stream() -> None:
    cause = FailureCause(name="any", failures_per_device_day=0.01, followers=1.0)
    fleet = fleet_of(1000)
    assert failures_in(20, (cause,), fleet, seed=4) == failures_in(20, (cause,), fleet, seed=4)
    assert failures_in(20, (cause,), fleet, seed=4) != failures_in(20, (cause,), fleet, seed=5)
