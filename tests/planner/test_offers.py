"""One plan under every offer: reservations are paid to their end, spot pays up to some rate."""

import pytest

from planner.number import Case
from planner.numbers import NUMBERS
from planner.offers import MOST_PREEMPTIONS, Offered, offered
from simulator.campaign.predict import predict
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.plan import PlanSpec
from simulator.spec.reliability import FailureCause
from simulator.spec.scenario import Scenario
from simulator.step.predict import predict_step

PLAN = PlanSpec(dp_shard=16, zero_stage=1, n_microbatches=64)
QUOTED = (
    "economics.offers=["
    "{name: year, device: h100-sxm, provider: Us, date: 2026-11, commitment: reserved, "
    "usd_per_device_hour: 2, committed_s: 365d}, "
    "{name: now, device: h100-sxm, provider: Us, date: 2026-11, usd_per_device_hour: 3}, "
    "{name: left-over, device: h100-sxm, provider: Us, date: 2026-11, commitment: spot, "
    "usd_per_device_hour: 1.5}]"
)


def scenario(*overrides: str) -> Scenario:
    given = ("reliability.repair_s=2h", QUOTED, *overrides)
    return scenario_from_flags(
        model="llama3-8b", cluster="h100-sxm:16", tokens="20B", overrides=given
    )


def by_name(asked: Scenario) -> dict[str, Offered]:
    step = predict_step(asked, PLAN)
    return {offer.name: offer for offer in offered(asked, PLAN, step)}


def test_costs_are_those_of_a_prediction_by_that_price() -> None:
    offers = by_name(scenario())
    assert {"year", "now", "left-over", "lambda-2026-09"} <= offers.keys()
    for name in ("now", "lambda-2026-09"):
        alone = predict(scenario(f"economics.price={name}"), PLAN).campaign
        assert offers[name].cost_usd == pytest.approx(alone.cost_usd)
        assert offers[name].preemptions_per_node_day is None
    assert offers["year"].cost_usd == pytest.approx(16 * 365 * 24 * 2.0, rel=1e-3)


def test_spot_pays_until_nodes_are_taken_away_too_often() -> None:
    often = by_name(scenario())["left-over"].preemptions_per_node_day
    assert often is not None
    costs = []
    for factor in (0.98, 1.02):
        taken = FailureCause(
            name="preemption",
            component="preemption",
            failures_per_device_day=often * factor / 8,
            notice_s=120.0,
            repair_s=3600.0,
        )
        asked = scenario("economics.price=left-over")
        reliability = asked.reliability.model_copy(update={"more_causes": (taken,)})
        spot = predict(asked.model_copy(update={"reliability": reliability}), PLAN).campaign
        costs.append(spot.cost_usd)
    now = predict(scenario("economics.price=now"), PLAN).campaign.cost_usd
    assert costs[0] < now < costs[1]  # type: ignore[operator]


def test_only_spot_is_preempted() -> None:
    preempted = "reliability.more_causes=[{name: p, component: preemption, "
    preempted += "failures_per_device_day: 0.3, notice_s: 2 min}]"
    calm, rough = by_name(scenario()), by_name(scenario(preempted))
    assert rough["now"].cost_usd == pytest.approx(calm["now"].cost_usd)
    assert rough["left-over"].calendar_s > calm["left-over"].calendar_s


@pytest.mark.parametrize(
    "scaled", [("failure_factor=0",), ("failure_factor=3", "failures_per_device_day=1e-3")]
)
def test_what_scales_failures_does_not_scale_the_tried_preemptions(scaled: tuple[str, ...]) -> None:
    asked = scenario(*(f"reliability.{each}" for each in scaled))
    often = by_name(asked)["left-over"].preemptions_per_node_day
    usual = by_name(scenario())["left-over"].preemptions_per_node_day
    assert often == pytest.approx(usual, rel=0.1)


def test_without_preemptions_the_other_failures_stay_as_they_are() -> None:
    causes = "{name: device, failures_per_device_day: 0.01}"
    taken = "{name: p, component: preemption, failures_per_device_day: 0.3, notice_s: 2 min}"
    mixed = by_name(
        scenario(
            f"reliability.causes=[{causes}, {taken}]", "reliability.failures_per_device_day=0.31"
        )
    )
    alone = by_name(scenario(f"reliability.causes=[{causes}]"))
    assert mixed["now"].cost_usd == pytest.approx(alone["now"].cost_usd)
    assert mixed["left-over"].calendar_s > mixed["now"].calendar_s


def test_a_replay_alone_bears_preemptions_too() -> None:
    replay = "reliability.replay=[{node: 0, start_s: 1h, end_s: 2h}]"
    alone = by_name(scenario(replay, "reliability.random_failures=false"))["left-over"]
    none = by_name(scenario(replay, "reliability.failure_factor=0"))["left-over"]
    assert alone.preemptions_per_node_day == none.preemptions_per_node_day
    assert alone.preemptions_per_node_day is not None
    assert alone.preemptions_per_node_day < MOST_PREEMPTIONS


def test_a_deadline_may_rule_offers_out() -> None:
    calendar_s = by_name(scenario())["now"].calendar_s
    offers = by_name(scenario(f"goal.finish_within={calendar_s * 0.9:.0f}"))
    assert not offers["now"].meets_goal
    assert offers["left-over"].preemptions_per_node_day is None


def test_explain_says_which_price_and_for_how_long() -> None:
    asked = scenario("economics.price=year")
    inputs = NUMBERS["cost_usd"].inputs(Case(asked, PLAN, predict(asked, PLAN)))
    said = {each.name: (each.value, each.source) for each in inputs}
    assert said["usd_per_device_hour"] == ("$2", "price year of 2026-11")
    assert said["paid_for"][0] == "365 d"
