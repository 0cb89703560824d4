"""Both clocks give one kind of answer."""

from itertools import pairwise

import pytest

from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.stragglers import StragglerSpec
from simulator.step.predict import Engine, predict_step, traced_step

SCENARIO = scenario_from_flags(
    model="gpt3-175b", cluster="a100:64", sequence_length="2048", batch="64"
)
CLOSED_FORM: Engine = "closed-form"
EVENTS: Engine = "events"
PLAN = PlanSpec(
    pp=8,
    tp=8,
    sequence_parallel=True,
    virtual_stages=3,
    schedule="interleaved-1f1b",
    n_microbatches=64,
    recompute="selective",
)

CHOICES: list[tuple[dict[str, int], dict[str, float], dict[str, float]]] = [
    ({"tp": 8, "dp_shard": 8}, {"tp": 0.0}, {"tp": 1.0}),
    ({"cp": 8, "dp_shard": 8}, {"cp": 0.0}, {"cp": 1.0}),
    ({"ep": 8, "dp_shard": 64}, {"ep": 0.0}, {"ep": 1.0}),
    ({"dp_shard": 64}, {"dp": 0.0}, {"dp": 1.0}),
    ({"dp_shard": 64}, {"dp": 1.0, "dp_gather": 0.0}, {"dp": 1.0}),
    ({"dp_shard": 64, "zero_stage": 3}, {"dp": 0.0}, {"dp": 1.0}),
    ({"pp": 8, "virtual_stages": 2, "dp_shard": 8}, {"pp": 0.0}, {"pp": 1.0}),
    ({"dp_shard": 64}, {"dp": 1.0, "contention": 1.0}, {"dp": 1.0, "contention": 0.0}),
    ({"dp_shard": 64}, {"dp": 0.0, "bucket_bytes": 1e6}, {"dp": 0.0, "bucket_bytes": 1e9}),
]
"""A plan that exchanges something, what hides little of it, and what hides more."""


@pytest.mark.parametrize(("mesh", "little", "more"), CHOICES, ids=str)
def test_overlap_is_a_choice_that_both_clocks_see(
    mesh: dict[str, int], little: dict[str, float], more: dict[str, float]
) -> None:
    """Of each kind of exchange, and how much it slows what it hides behind."""
    schedule = "interleaved-1f1b" if "virtual_stages" in mesh else "1f1b"
    batch = 16 if "pp" in mesh else 1
    plan = PlanSpec.model_validate(
        {"zero_stage": 1, "schedule": schedule, "n_microbatches": batch} | mesh
    )
    steps = []
    for chosen in (little, more):
        overrides = [f"job.overlap.{name}={value:g}" for name, value in chosen.items()]
        scenario = scenario_from_flags(
            model="mixtral-8x7b", cluster="h100:64", batch="64", overrides=overrides
        )
        closed_form, events = (
            predict_step(scenario, plan, engine=engine) for engine in (CLOSED_FORM, EVENTS)
        )
        assert closed_form.step_s == pytest.approx(events.step_s, rel=1e-3)
        assert any(f"{name} {value:g}" in note for note in events.assumptions
                   for name, value in chosen.items())  # fmt: skip
        steps.append(events.step_s)
    assert steps[1] < 0.9999 * steps[0]


PASSES = ("forward", "backward")


def test_engines_agree_on_a_regular_plan() -> None:
    closed_form = predict_step(SCENARIO, PLAN)
    events = predict_step(SCENARIO, PLAN, engine="events")
    assert (closed_form.engine, events.engine) == ("closed-form", "events")
    assert closed_form.step_s == pytest.approx(events.step_s, rel=0.02)
    assert events.breakdown.total_s == pytest.approx(events.step_s)
    assert events.memory == closed_form.memory


@pytest.mark.parametrize("engine", ["closed-form", "events"])
def test_a_step_that_waits_for_data_is_as_long_as_a_batch_takes(engine: Engine) -> None:
    """64 sequences of 2,048 tokens of 1 MB each over 1 GB/s: 131 s, without variation."""
    slow = InputSpec(
        dataset_bytes=1e18,
        bytes_per_token=1e6,
        store_bandwidth_bytes_per_s=1e9,
        node_bandwidth_bytes_per_s=1e12,
        variation=0.0,
    )
    fed = predict_step(SCENARIO, PLAN, engine=engine)
    starved = predict_step(SCENARIO.model_copy(update={"input": slow}), PLAN, engine=engine)
    assert fed.breakdown.input_s == 0.0
    assert starved.step_s == pytest.approx(64 * 2048 * 1e6 / 1e9)
    assert starved.fed_step_s == pytest.approx(fed.step_s)
    assert starved.breakdown.total_s == pytest.approx(starved.step_s, rel=1e-9)
    assert starved.mfu < fed.mfu


def test_trace_covers_every_stage_of_the_predicted_step() -> None:
    spans = traced_step(SCENARIO, PLAN)
    assert {span.rank for span in spans} == set(range(8))
    predicted = predict_step(SCENARIO, PLAN, engine="events")
    assert max(span.end_s for span in spans) == pytest.approx(predicted.step_s, rel=1e-12)


@pytest.mark.parametrize(
    "software", ["megatron-2021", "megatron-core-2024", "torchtitan", "fsdp-eager"]
)
def test_trace_and_parts_add_up_to_a_step_with_everything(software: str) -> None:
    """Stragglers, waits for data and traffic that overlaps: all ends when the step does."""
    scenario = SCENARIO.model_copy(
        update={
            "job": SCENARIO.job.model_copy(update={"software": software}),
            "stragglers": StragglerSpec(pass_jitter=0.05, slow_devices=1, slowdown=1.2),
            "input": InputSpec(
                dataset_bytes=1e15,
                bytes_per_token=1e6,
                store_bandwidth_bytes_per_s=1e9,
                node_bandwidth_bytes_per_s=1e12,
            ),
        }
    )
    sharded = {"tp": 4, "dp_shard": 2, "zero_stage": 1, "n_microbatches": 32}
    plan = PLAN.model_copy(update=sharded)
    predicted = predict_step(scenario, plan, engine="events")
    assert predicted.breakdown.total_s == pytest.approx(predicted.step_s, rel=1e-9)
    spans = traced_step(scenario, plan)
    assert {"gather", "reduce", "exchange", "p2p"} <= {span.kind for span in spans}
    assert max(span.end_s for span in spans) == pytest.approx(predicted.step_s, rel=1e-9)
    waits = [span.end_s - span.start_s for span in spans if span.kind == "input"]
    assert waits == pytest.approx([predicted.breakdown.input_s] * plan.pp)
    for rank in range(plan.pp):  # nothing is drawn over anything else
        track = sorted(
            (s.start_s, s.end_s) for s in spans if (s.rank, s.track) == (rank, "compute")
        )
        assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(track))


def test_exchanges_that_show_have_a_track_of_their_own() -> None:
    """They add up to the part of the step, and lie in the pass that they belong to."""
    spans = traced_step(SCENARIO, PLAN)
    shown = [span for span in spans if span.track == "exchanges"]
    assert {span.name for span in shown} == {"tp"}
    sums = [sum(s.end_s - s.start_s for s in shown if s.rank == rank) for rank in range(8)]
    tp_s = predict_step(SCENARIO, PLAN, engine="events").breakdown.tp_s
    assert min(abs(each - tp_s) for each in sums) < 1e-9 * tp_s
    passes = {
        (span.rank, span.kind, span.chunk, span.microbatch, span.end_s)
        for span in spans
        if span.track == "compute"
    }
    assert all(
        any((s.rank, kind, s.chunk, s.microbatch, s.end_s) in passes for kind in PASSES)
        for s in shown
    )
