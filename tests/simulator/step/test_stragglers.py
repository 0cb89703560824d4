"""Slow devices and jitter: against numbers reckoned by hand, and both clocks against each other."""

import pytest

from planner.pricing import Pricing
from simulator.catalog import find_software
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.stragglers import StragglerSpec
from simulator.step.events import simulate_step
from simulator.step.predict import ENGINES, predict_step, step_costs
from simulator.step.stragglers import Stragglers
from simulator.step.straggling import straggling_times
from tests.simulator.step.price_list import layer, model
from tests.simulator.step.price_list import step_costs as priced
from tests.simulator.step.test_agreement import cases

LAYER = layer(1.0, 2.0)


def scenario(**stragglers: float) -> Scenario:
    asked = scenario_from_flags(
        model="llama3-8b", cluster="h100-sxm:64", sequence_length="4096", batch="128"
    )
    return asked.model_copy(update={"stragglers": StragglerSpec.model_validate(stragglers)})


def test_a_slow_stage_is_as_slow_as_one_with_more_work() -> None:
    plan = PlanSpec(pp=3, n_microbatches=10)
    stragglers = Stragglers(slow_stages=(frozenset({1}),), slowdown=2.0)
    # Layers on three stages: 1, 2 (as 1 at half speed) and 1: 64 s, docs/design/step.md.
    assert simulate_step(priced(LAYER), plan, model(3), stragglers=stragglers).step_s == 64.0


def test_the_step_waits_for_the_slowest_column() -> None:
    plan = PlanSpec(pp=2, n_microbatches=4)
    kinds = (frozenset({0}), frozenset({0, 1}))
    alone = [
        simulate_step(
            priced(LAYER), plan, model(2), stragglers=Stragglers(slow_stages=(kind,), slowdown=1.5)
        ).step_s
        for kind in kinds
    ]
    both = Stragglers(slow_stages=kinds, slowdown=1.5)
    assert simulate_step(priced(LAYER), plan, model(2), stragglers=both).step_s == max(alone)


def test_one_slow_device_slows_its_column_and_with_zero_3_everybody() -> None:
    spec = StragglerSpec(slow_devices=3, slowdown=1.5)
    columns = Stragglers.of(spec, PlanSpec(pp=4, dp_replicate=8, tp=2), seed=1)
    assert all(0 < len(stages) <= 2 for stages in columns.slow_stages)
    assert columns.n_together == 2
    together = Stragglers.of(spec, PlanSpec(pp=4, dp_shard=8, zero_stage=3, tp=2), seed=1)
    assert len(together.slow_stages) == 1
    assert together.n_together == 16


def test_nothing_slow_changes_nothing() -> None:
    plan = PlanSpec(pp=4, tp=2, dp_replicate=8, n_microbatches=16)
    asked = scenario(slow_devices=4, slowdown=1.0)
    assert predict_step(asked, plan).step_s == predict_step(scenario(), plan).step_s


@pytest.mark.parametrize(
    "plan",
    [
        PlanSpec(dp_replicate=64, n_microbatches=2),
        PlanSpec(pp=4, tp=2, dp_replicate=8, n_microbatches=16),
        PlanSpec(pp=2, tp=8, dp_shard=4, zero_stage=1, n_microbatches=32, schedule="gpipe"),
        PlanSpec(dp_shard=64, zero_stage=3, n_microbatches=2),
    ],
    ids=PlanSpec.label,
)
def test_both_clocks_see_the_same_jitter(plan: PlanSpec) -> None:
    calm, shaken = scenario(), scenario(pass_jitter=0.05, slow_devices=2, slowdown=1.1)
    events, closed = (
        predict_step(shaken, plan, engine=engine) for engine in ("events", "closed-form")
    )
    assert events == predict_step(shaken, plan, engine="events")
    assert events.step_s > 1.03 * predict_step(calm, plan, engine="events").step_s
    assert closed.step_s == pytest.approx(events.step_s, rel=0.06)


@pytest.mark.parametrize(
    ("spec", "mean", "largest"),
    [
        ({"slow_devices": 1, "slowdown": 1.2}, 0.03, 0.11),
        ({"slow_devices": 8, "slowdown": 1.2}, 0.015, 0.08),
        ({"pass_jitter": 0.05}, 0.01, 0.04),
    ],
)
def test_the_search_stretches_plans_as_the_events_do(
    spec: dict[str, float], mean: float, largest: float
) -> None:
    """Steps with stragglers over those without, for random plans: these become 0 to 20 % longer."""
    asked, off = StragglerSpec.model_validate(spec), []
    for case in cases(15, seed=7):
        table = PlanTable.of([case.plan])
        costs = price_step(case.model, case.cluster, case.job, find_software("default"), table)
        stragglers = Stragglers.of(asked, case.plan, seed=3)
        calm_s = simulate_step(costs, case.plan, case.model).step_s
        shaken_s = simulate_step(costs, case.plan, case.model, stragglers=stragglers).step_s
        both = [
            float(straggling_times(costs, table, case.model, each).step_s[0])
            for each in (StragglerSpec(), asked)
        ]
        off.append(abs(both[1] / both[0] / (shaken_s / calm_s) - 1.0))
    assert sum(off) / len(off) < mean
    assert max(off) < largest


def test_jitter_costs_more_where_more_ranks_meet_in_every_pass() -> None:
    """ZeRO 3 over 64 ranks waits for the slowest of 64 every pass, which takes 1 + 0.05 x 2.34 of
    its mean (the expected largest of 64 normal numbers); ZeRO 1 meets once a step."""
    asked = scenario(pass_jitter=0.05)
    plans = [
        PlanSpec(dp_shard=64, zero_stage=3, n_microbatches=2),
        PlanSpec(dp_shard=64, zero_stage=1, n_microbatches=2),
    ]
    table = PlanTable.of(plans)
    pricing = Pricing.of(asked)
    stretch = pricing.steps(table).step_s / Pricing.of(scenario()).steps(table).step_s
    assert 1.08 < stretch[0] < 1.0 + 0.05 * 2.35
    assert 1.0 < stretch[1] < 1.06


def test_parts_add_up_with_stragglers() -> None:
    plan = PlanSpec(pp=4, tp=2, dp_replicate=8, n_microbatches=16)
    asked = scenario(pass_jitter=0.05, slow_devices=2, slowdown=1.1)
    stragglers = Stragglers.of(asked.stragglers, plan, asked.seed)
    costs = step_costs(asked, plan)
    step = simulate_step(costs, plan, asked.model, stragglers=stragglers)
    assert step.breakdown.total_s == pytest.approx(step.step_s, rel=1e-9)
    assert ENGINES["events"](costs, plan, asked.model, stragglers) == step.breakdown
