"""Sizes that meet a deadline: the smallest first, none that does not help, the front."""

import re

import pytest

from planner.changes import with_device, with_devices
from planner.search import find_plans, search
from planner.size import Sizing, size
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.job import JobSpec
from simulator.spec.scenario import GoalSpec, Scenario

DAY_S = 86400.0


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return Scenario(
        name="sized",
        model=find_model("llama3-8b"),
        cluster=parse_cluster("h100-sxm:16"),
        job=JobSpec(tokens=10**11, sequence_length=4096, global_batch_sequences=96),
    )


@pytest.fixture(scope="module")
def sizing(scenario: Scenario) -> Sizing:
    return size(scenario, finish_within=3 * DAY_S, devices=("h100-sxm-80gb", "b200-sxm-180gb"))


def test_all_options_meet_the_deadline(sizing: Sizing) -> None:
    assert len(sizing.options) > 3
    assert all(one.prediction.calendar_s <= 3 * DAY_S for one in sizing.options)
    assert {one.device for one in sizing.options} == {"h100-sxm-80gb", "b200-sxm-180gb"}


def test_the_smallest_number_is_the_smallest(scenario: Scenario, sizing: Sizing) -> None:
    counts = [one.n_devices for one in sizing.options if one.device == "h100-sxm-80gb"]
    assert counts == sorted(counts)
    deadline = GoalSpec(finish_within=3 * DAY_S)
    for n_devices in (8, 16, 24, 32, 48, 64):
        sized = with_devices(scenario, n_devices).model_copy(update={"goal": deadline})
        found = find_plans(sized, top=1)
        assert (found is not None) == (n_devices >= counts[0])


def test_an_option_is_what_plan_says(scenario: Scenario, sizing: Sizing) -> None:
    option = next(one for one in sizing.options if one.device == "h100-sxm-80gb")
    best = search(with_devices(scenario, option.n_devices), top=1).best
    assert option.plan == best.plan
    assert option.prediction.calendar_s == best.prediction.campaign.calendar_s


def test_least_energy_is_another_answer(scenario: Scenario, sizing: Sizing) -> None:
    goal = GoalSpec(minimize="energy")
    green = scenario.model_copy(update={"goal": goal})
    found = size(green, finish_within=3 * DAY_S, devices=("h100-sxm-80gb",))
    assert found.greenest is not None
    assert found.best_by("energy") == found.greenest
    usual = {one.n_devices: one.prediction for one in sizing.options if "h100" in one.device}
    for one in found.options:
        assert one.prediction.calendar_s <= 3 * DAY_S
        if one.n_devices in usual:
            fast_j = usual[one.n_devices].energy_j
            assert one.prediction.energy_j is not None
            assert fast_j is not None
            assert one.prediction.energy_j <= fast_j * 1.001


def test_options_say_how_likely_they_are_in_time(sizing: Sizing) -> None:
    for one in sizing.options:
        assert one.odds.budget is None
        assert one.odds.deadline is not None
        low, high = one.prediction.interval_calendar_s
        assert (one.odds.deadline > 0.95) == (high < 3 * DAY_S)
        assert (one.odds.deadline > 0.05) == (low < 3 * DAY_S)
    assert (sizing.fastest.odds.deadline or 0) > 0.999
    frame = sizing.to_frame()
    assert list(frame["deadline_probability"]) == [one.odds.deadline for one in sizing.options]


def test_the_winners(sizing: Sizing) -> None:
    assert sizing.fewest.n_devices == min(one.n_devices for one in sizing.options)
    assert sizing.fastest.prediction.calendar_s == min(
        one.prediction.calendar_s for one in sizing.options
    )
    assert sizing.cheapest is not None
    assert sizing.cheapest.prediction.cost_usd == min(
        one.prediction.cost_usd for one in sizing.options if one.prediction.cost_usd
    )


def test_the_front_is_what_nothing_beats(sizing: Sizing) -> None:
    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    values = {
        at: (one.prediction.calendar_s, one.prediction.cost_usd or 0.0, float(one.n_devices))
        for at, one in enumerate(sizing.options)
    }
    best = {at for at, mine in values.items() if not any(beats(v, mine) for v in values.values())}
    assert {sizing.options.index(one) for one in sizing.front} == best
    times = [one.prediction.calendar_s for one in sizing.front]
    assert times == sorted(times)
    assert len(sizing.to_frame()) == len(sizing.options)


def test_leading_options_say_what_every_offer_costs(sizing: Sizing) -> None:
    assert sizing.cheapest is not None
    assert sizing.greenest is not None
    for one in (sizing.cheapest, sizing.fewest, sizing.fastest, sizing.greenest):
        assert one.offers
        usual = one.offers[0]
        assert usual.cost_usd == pytest.approx(one.prediction.cost_usd)
    assert len([one for one in sizing.options if one.offers]) < len(sizing.options)
    assert {"spot", "capacity-block", "on-demand"} <= {
        offer.commitment for one in sizing.options for offer in one.offers
    }


def test_options_say_what_a_site_must_have(sizing: Sizing) -> None:
    for one in sizing.options:
        assert 8 * one.needs.nodes == one.n_devices
        assert one.needs.power_w is not None
        assert one.needs.power_w > 1000 * one.n_devices
    assert list(sizing.to_frame()["needs_nodes"]) == [one.needs.nodes for one in sizing.options]


def test_another_kind_is_not_rented_by_the_list_of_the_first(scenario: Scenario) -> None:
    economics = scenario.economics.model_copy(update={"price": "akash-2026-09"})
    named = scenario.model_copy(update={"economics": economics})
    assert with_device(named, "h200-sxm-141gb").economics.price is None


def test_a_budget_alone_is_a_question_too(scenario: Scenario) -> None:
    found = size(scenario, budget=12_000.0)
    costs = [one.prediction.cost_usd for one in found.options]
    assert all(cost is not None and cost <= 12_000.0 for cost in costs)


def test_without_deadline_or_budget_it_is_no_question(scenario: Scenario) -> None:
    with pytest.raises(InputError, match="the fewest devices would be one, for ever"):
        size(scenario)


def missed(
    scenario: Scenario, *, finish_within: float | None = None, budget: float | None = None
) -> str:
    with pytest.raises(NoFeasiblePlan) as caught:
        size(scenario, finish_within=finish_within, budget=budget)
    return caught.value.message


def test_the_cheapest_number_and_its_cost_are_said(scenario: Scenario) -> None:
    text = missed(scenario, budget=5_000.0)
    quoted = re.search(
        r"the cheapest is (\d+) x \S+ with \$([\d.]+) k, and the budget is \$5 k", text
    )
    assert quoted is not None
    enough = 1000 * float(quoted[2]) * 1.005  # three digits are printed
    found = size(scenario, budget=enough)
    assert found.cheapest is not None
    assert found.cheapest.n_devices == int(quoted[1])
    assert "the fastest looked at, " in text


def test_a_deadline_that_no_number_meets_says_the_fastest(scenario: Scenario) -> None:
    text = missed(scenario, finish_within=60.0)
    assert text.startswith("no number of h100-sxm-80gb up to 1,048,576 meets the goal: ")
    assert re.search(r"the fastest is [\d,]+ x \S+ with .*, and the deadline is 60 s", text)


def test_the_bound_that_binds_is_named(scenario: Scenario) -> None:
    assert "(the budget binds): the cheapest in time is " in missed(
        scenario, finish_within=20 * DAY_S, budget=5_000.0
    )
    either = missed(scenario, finish_within=0.5 * DAY_S, budget=12_000.0)
    assert "(each can be met, not both): the cheapest in time is " in either
    assert "; the fastest within the budget is " in either
