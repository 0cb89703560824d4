"""A plan has the same intervals wherever it stands."""

from __future__ import annotations

import pytest

from planner.fewer_nodes import NewPlans
from planner.finalists import Judge, if_nothing_failed
from planner.pricing import Pricing
from planner.result import SearchResult
from planner.search import search
from planner.space import Space
from planner.sweep import sweep
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.predict import predict, state_bytes
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.plan_file import RankedPlan
from simulator.spec.scenario import Scenario

SCENARIO = "scenarios/llama3-70b-on-64-h100.yaml"
WAITING = ("reliability.spares=1", "reliability.recovery=wait", "reliability.repair_s=5d")


@pytest.fixture(scope="module")
def answer() -> SearchResult:
    return search(load_scenario(SCENARIO, overrides=WAITING), top=1)


def assert_simulated(scenario: Scenario, line: RankedPlan) -> None:
    """Its intervals are not those of the closed form, whose mean it has."""
    campaign, size = line.prediction.campaign, state_bytes(scenario, line.plan)
    normal = predict_campaign(scenario, line.plan, line.prediction.step, state_bytes=size)
    assert normal.calendar_s == campaign.calendar_s
    assert normal.intervals != campaign.intervals


def test_a_plan_that_is_predicted_again_has_its_simulated_intervals(answer: SearchResult) -> None:
    best, scenario = answer.best, answer.scenario
    assert predict(scenario, best.plan, engine="events") == best.prediction
    assert_simulated(scenario, best)


def test_the_plan_of_the_fastest_step_has_simulated_intervals_too(answer: SearchResult) -> None:
    """Against a winner whose steps take longer and whose training does not."""
    best, scenario = answer.best, answer.scenario
    step, campaign = best.prediction.step, best.prediction.campaign
    winner = best.model_copy(
        update={
            "plan": best.plan.model_copy(update={"n_microbatches": 1}),
            "prediction": best.prediction.model_copy(
                update={
                    "step": step.model_copy(update={"step_s": 2 * step.step_s}),
                    "campaign": campaign.model_copy(update={"calendar_s": 1.0}),
                }
            ),
        }
    )
    pricing = Pricing.of(scenario)
    found = sweep(pricing, scenario, Space.of(scenario), n_leaders=1)
    judge = Judge(scenario, pricing.resilience, NewPlans())
    assert found.fastest is not None
    line = if_nothing_failed(judge, found.fastest, (winner,))
    assert line.rank == 0
    assert line.prediction == predict(scenario, line.plan, engine="events")
    assert_simulated(scenario, line)
