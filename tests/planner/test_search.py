"""A search from question to ranked plans, on small clusters."""

from collections.abc import Callable

import pytest

from planner import finalists
from planner.objective import NEAR_TIE, grade
from planner.result import PredictionSummary, SearchResult
from planner.search import search
from simulator.campaign.predict import predict
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.spec.economics import EconomicsSpec
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.job import JobSpec
from simulator.spec.legality import violations
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepPrediction
from simulator.spec.scenario import GoalSpec, PlanLimits, Scenario
from simulator.spec.units import format_usd
from simulator.step.predict import Engine, predict_step


def mesh_of(plan: PlanSpec) -> tuple[int, ...]:
    return plan.pp, plan.cp, plan.tp, plan.ep


def ask(
    model: str = "llama3-8b",
    cluster: str = "h100-sxm:16",
    *,
    goal: GoalSpec | None = None,
    limits: PlanLimits | None = None,
    **fields: object,
) -> Scenario:
    return Scenario.model_validate(
        {
            "name": "asked",
            "model": find_model(model),
            "cluster": parse_cluster(cluster),
            "job": JobSpec(tokens=10**10, sequence_length=4096, global_batch_sequences=64),
            "goal": goal or GoalSpec(),
            "limits": limits or PlanLimits(),
        }
        | fields
    )


@pytest.fixture(scope="module")
def answer() -> SearchResult:
    return search(ask(), top=4)


def test_plans_are_ranked_by_the_goal_and_differ_in_mesh(answer: SearchResult) -> None:
    found = [ranked.prediction for ranked in answer.plans]
    places = [(float(grade(p.campaign.calendar_s)), p.step.peak_memory_bytes) for p in found]
    assert places == sorted(places)  # near-ties by the memory that they leave free
    times_s = [prediction.campaign.calendar_s for prediction in found]
    assert times_s == pytest.approx(sorted(times_s), rel=NEAR_TIE)
    assert [ranked.rank for ranked in answer.plans] == [1, 2, 3, 4]
    assert len({mesh_of(ranked.plan) for ranked in answer.plans}) == 4


def test_plans_are_legal_and_keep_the_margin(answer: SearchResult) -> None:
    scenario = answer.scenario
    for ranked in answer.plans:
        broken = violations(scenario.model, scenario.job, ranked.plan, n_devices=16)
        assert broken == []
        margin = ranked.prediction.step.memory_margin_bytes
        assert margin >= 0.06 * scenario.cluster.device.memory_bytes


def test_events_confirm_the_answer(answer: SearchResult) -> None:
    assert {ranked.prediction.step.engine for ranked in answer.plans} == {"events"}
    again = predict(answer.scenario, answer.best.plan, engine="events")
    assert again == answer.best.prediction


def test_only_the_best_loses_to_nobody(answer: SearchResult) -> None:
    assert [bool(ranked.loses_to) for ranked in answer.plans] == [False, True, True, True]


def test_counts(answer: SearchResult) -> None:
    assert answer.complete
    assert answer.n_plans >= answer.n_priced >= answer.n_fitting > 0


def test_same_question_same_answer(answer: SearchResult) -> None:
    assert search(ask(), top=4).plans == answer.plans


def test_the_plan_file_reads_back(answer: SearchResult, tmp_path: object) -> None:
    path = f"{tmp_path}/plan.json"
    plan_file = answer.plan_file()
    write_plan_file(path, plan_file)
    assert read_plan_file(path) == plan_file
    assert plan_file.plan == answer.best.plan
    assert plan_file.alternatives == answer.plans


def test_the_frame_has_a_row_per_plan(answer: SearchResult) -> None:
    frame = answer.to_frame()
    assert list(frame.index) == [1, 2, 3, 4]
    assert frame.loc[1, "step_s"] == answer.best.prediction.step.step_s
    assert frame.loc[2, "tp"] == answer.plans[1].plan.tp


def test_the_json_answer_follows_the_contract(answer: SearchResult) -> None:
    document = answer.answer("which?").model_dump(mode="json")
    assert list(document) == [*("version", "question", "search", "plans", "fastest_step", "front")]
    assert document["front"] is None  # nobody asked for one
    assert {"plans", "feasible", "complete", "seconds"} <= document["search"].keys()
    line = document["plans"][0]
    assert list(line) == ["rank", "plan", "prediction", "loses_to"]
    assert set(line["prediction"]) == set(PredictionSummary.model_fields)
    assert {"dp_replicate", "zero_stage", "recompute", "precision"} <= line["plan"].keys()


def test_a_cheaper_goal_does_not_cost_more() -> None:
    economics = EconomicsSpec(usd_per_device_hour=2.0)
    cost = search(ask(goal=GoalSpec(minimize="cost"), economics=economics), top=1)
    time = search(ask(economics=economics), top=1)
    cheapest, fastest = cost.best.prediction.campaign, time.best.prediction.campaign
    assert cheapest.cost_usd is not None
    assert fastest.cost_usd is not None
    assert cheapest.cost_usd <= fastest.cost_usd


def test_a_plan_that_events_find_slow_moves_down(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = ask()
    first = search(scenario, top=3).best.plan

    def pessimistic(asked: Scenario, plan: PlanSpec, *, engine: Engine) -> StepPrediction:
        step = predict_step(asked, plan, engine=engine)
        if mesh_of(plan) != mesh_of(first):
            return step
        return step.model_copy(update={"step_s": 3 * step.step_s})

    monkeypatch.setattr(finalists, "predict_step", pessimistic)
    assert mesh_of(search(scenario, top=3).best.plan) != mesh_of(first)


@pytest.mark.parametrize(
    ("scenario", "message", "help_"),
    [
        (
            lambda: ask("llama3-70b", "h100-sxm:8"),
            "no plan fits: the nearest needs",
            "32 devices instead of 8: needs",
        ),
        (
            lambda: ask(cluster="h100-sxm:16", limits=PlanLimits(zero_stage=0, tp=1, pp=1)),
            "no plan fits",
            "without limits.zero_stage=0: needs",
        ),
        (
            lambda: ask(limits=PlanLimits(tp=16, sequence_parallel=True, dp=3)),
            "no plan is legal on 16 devices",
            "without limits.dp=3",
        ),
        (
            lambda: ask(goal=GoalSpec(finish_within=36000.0)),
            "and goal.finish_within is 10 h",
            "32 devices instead of 16: done in",
        ),
    ],
)
def test_no_answer_says_what_would_help(
    scenario: Callable[[], Scenario], message: str, help_: str
) -> None:
    with pytest.raises(NoFeasiblePlan) as raised:
        search(scenario(), top=2)
    assert message in str(raised.value)
    assert help_ in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_price_must_be_known_for_a_budget() -> None:
    with pytest.raises(InputError, match="no price is known for cpu"):
        search(ask("tiny-llama-5m", "cpu:2", goal=GoalSpec(budget=10.0)))


def test_a_budget_that_is_too_small_says_what_the_cheapest_costs() -> None:
    economics = EconomicsSpec(usd_per_device_hour=2.0)
    with pytest.raises(NoFeasiblePlan) as raised:
        search(ask(goal=GoalSpec(budget=10.0), economics=economics), top=1)
    cheap = search(ask(economics=economics), top=1).best.prediction.campaign.cost_usd
    assert cheap is not None
    assert f"costs {format_usd(cheap)} and takes" in str(raised.value)
    assert "and goal.budget is $10;" in str(raised.value)
