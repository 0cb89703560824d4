"""How many devices a plan may use."""

from collections.abc import Callable

import pytest

from planner.counts import by_count, has_power
from planner.search import search
from planner.size import size
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import GoalSpec, PlanLimits, Scenario

Make = Callable[..., Scenario]


def limited(make: Make, devices: object, **goal: object) -> Scenario:
    limits = PlanLimits.model_validate({"devices": devices})
    scenario: Scenario = make(n_devices=48, limits=limits)
    return scenario.model_copy(update={"goal": GoalSpec.model_validate(goal)})


@pytest.mark.parametrize(
    ("devices", "counts"),
    [
        (None, [48]),
        (40, [40]),
        ([8, 48, 16], [48, 16, 8]),
        ({"max": 40}, [40, 32, 24, 16, 8]),
        ({"max": 47, "min": 17, "exclude": [32]}, [40, 24]),
    ],
)
def test_counts_that_limits_leave(make_scenario: Make, devices: object, counts: list[int]) -> None:
    found = [one.n_devices for one in by_count(limited(make_scenario, devices))]
    assert found == counts


def test_the_best_number_is_that_of_trying_each(make_scenario: Make) -> None:
    quota = limited(make_scenario, {"max": 32})
    chosen = search(quota)
    singly = [search(limited(make_scenario, count)).best for count in (8, 16, 24, 32)]
    best = min(singly, key=lambda each: each.prediction.campaign.calendar_s)
    assert chosen.best.plan == best.plan
    assert chosen.scenario.limits.devices == best.plan.n_ranks


def test_least_money_over_a_free_number_needs_a_deadline(make_scenario: Make) -> None:
    with pytest.raises(InputError, match=r"least cost over 8 to 48 devices without a deadline"):
        next(by_count(limited(make_scenario, {"max": 48}, minimize="cost")))
    timed = limited(make_scenario, {"max": 48}, minimize="cost", finish_within="9d")
    assert len(list(by_count(timed))) == 5
    assert next(by_count(limited(make_scenario, 48, minimize="cost"))).n_devices == 48


def test_a_power_cap_bounds_busy_devices(make_scenario: Make) -> None:
    """700 W of a device, no host power: 24 devices at PUE 1.25 draw 21 kW."""
    scenario = limited(make_scenario, {"max": 48}, power_cap="21.1 kW")
    economics = scenario.economics.model_copy(update={"pue": 1.25})
    host = scenario.cluster.host.model_copy(update={"power_w": 0.0})
    cluster = scenario.cluster.model_copy(update={"host": host})
    scenario = scenario.model_copy(update={"economics": economics, "cluster": cluster})
    assert has_power(scenario, 24)
    assert not has_power(scenario, 25)
    assert [one.n_devices for one in by_count(scenario)] == [24, 16, 8]
    whole = scenario.model_copy(update={"limits": PlanLimits()})
    with pytest.raises(NoFeasiblePlan, match=r"48 busy devices draw 42 kW.*max: 24"):
        next(by_count(whole))


def test_a_power_cap_counts_spares_and_says_what_one_node_draws(make_scenario: Make) -> None:
    scenario = limited(make_scenario, {"max": 48}, power_cap="23 kW")
    host = scenario.cluster.host.model_copy(update={"power_w": 0.0})
    cluster = scenario.cluster.model_copy(update={"host": host})
    economics = scenario.economics.model_copy(update={"pue": 1.25, "idle_power": 100.0})
    spare = ReliabilitySpec(spares=2)
    scenario = scenario.model_copy(
        update={"cluster": cluster, "economics": economics, "reliability": spare}
    )
    # Three nodes of 7 kW and two spares of 1 kW.
    assert has_power(scenario, 24)
    less = scenario.model_copy(update={"goal": GoalSpec(power_cap=22.9e3)})
    assert not has_power(less, 24)
    none = scenario.model_copy(update={"goal": GoalSpec(power_cap=8e3)})
    with pytest.raises(
        NoFeasiblePlan, match=r"8 busy devices beside 2 spare nodes draw 9 kW"
    ) as at:
        next(by_count(none))
    assert at.value.fix == "allow 9 kW, what one node draws, or have fewer spares"


@pytest.mark.parametrize("spares", ["null", "1", "best"])
def test_what_size_says_a_site_draws_is_within_the_cap(spares: str) -> None:
    scenario = scenario_from_flags(
        model="llama2-7b",
        cluster="h100-sxm:16",
        tokens="2B",
        overrides=[
            "goal.power_cap=23 kW",
            "goal.finish_within=5d",
            f"reliability.spares={spares}",
            "reliability.failures_per_device_day=0.05",
        ],
    )
    drawn = [one.needs.power_w for one in size(scenario).options]
    assert drawn
    assert all(each is not None and each <= 23e3 for each in drawn)


def test_nothing_left(make_scenario: Make) -> None:
    with pytest.raises(InputError, match=r"limits\.devices: none of the 48 devices"):
        next(by_count(limited(make_scenario, {"max": 7})))


def test_size_keeps_to_a_quota() -> None:
    scenario = scenario_from_flags(
        model="llama2-7b",
        cluster="h100-sxm:8",
        tokens="10B",
        overrides=["limits.devices={max: 64, exclude: [24, 48]}", "goal.finish_within=5d"],
    )
    counts = {one.n_devices for one in size(scenario).options}
    assert counts
    assert counts <= {8, 16, 32, 64}
