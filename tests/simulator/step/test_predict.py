"""Both clocks give one kind of answer."""

import pytest

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.plan import PlanSpec
from simulator.step.predict import predict_step, traced_step

SCENARIO = scenario_from_flags(
    model="gpt3-175b", cluster="a100:64", sequence_length="2048", batch="64"
)
PLAN = PlanSpec(
    pp=8,
    tp=8,
    sequence_parallel=True,
    virtual_stages=3,
    schedule="interleaved-1f1b",
    n_microbatches=64,
    recompute="selective",
)


def test_engines_agree_on_a_regular_plan() -> None:
    closed_form = predict_step(SCENARIO, PLAN)
    events = predict_step(SCENARIO, PLAN, engine="events")
    assert (closed_form.engine, events.engine) == ("closed-form", "events")
    assert closed_form.step_s == pytest.approx(events.step_s, rel=0.02)
    assert events.breakdown.total_s == pytest.approx(events.step_s)
    assert events.memory == closed_form.memory


def test_trace_covers_every_stage_of_the_predicted_step() -> None:
    spans = traced_step(SCENARIO, PLAN)
    assert {span.rank for span in spans} == set(range(8))
    predicted = predict_step(SCENARIO, PLAN, engine="events")
    assert max(span.end_s for span in spans) <= predicted.step_s * (1.0 + 1e-12)
