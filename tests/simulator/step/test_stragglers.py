"""Slow devices and jitter: against numbers reckoned by hand, and both clocks against each other."""

import pytest

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.stragglers import StragglerSpec
from simulator.step.events import simulate_step
from simulator.step.predict import ENGINES, predict_step, step_costs
from simulator.step.stragglers import Stragglers
from tests.simulator.step.price_list import layer, model
from tests.simulator.step.price_list import step_costs as priced

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


def test_parts_add_up_with_stragglers() -> None:
    plan = PlanSpec(pp=4, tp=2, dp_replicate=8, n_microbatches=16)
    asked = scenario(pass_jitter=0.05, slow_devices=2, slowdown=1.1)
    stragglers = Stragglers.of(asked.stragglers, plan, asked.seed)
    costs = step_costs(asked, plan)
    step = simulate_step(costs, plan, asked.model, stragglers=stragglers)
    assert step.breakdown.total_s == pytest.approx(step.step_s, rel=1e-9)
    assert ENGINES["events"](costs, plan, asked.model, stragglers) == step.breakdown
