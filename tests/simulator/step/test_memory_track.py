"""Memory over the step against the closed form of its peak, for every schedule."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.chunk_memory import plan_memory
from simulator.cost.memory import memory_breakdown
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.step.events import simulate_step
from simulator.step.memory_figure import memory_track_figure
from simulator.step.memory_track import MemoryTrack, fullest, memory_tracks
from simulator.step.spans import Trace
from simulator.step.trace import chrome_trace
from tests.simulator.pipelines import pipelines

CLUSTER = parse_cluster("h100-sxm:64")


def tracks_of(model: ModelSpec, plan: PlanSpec, software: str) -> tuple[MemoryTrack, ...]:
    job = JobSpec(
        sequence_length=2048, global_batch_sequences=plan.batch_sequences, software=software
    )
    profile, trace = find_software(software), Trace()
    costs = price_step(model, CLUSTER, job, profile, PlanTable.of([plan]))
    simulate_step(costs, plan, model, trace=trace)
    memory = plan_memory(model, CLUSTER, job, profile, plan)
    tracks = memory_tracks(memory, trace.spans)
    stages = memory_breakdown(model, CLUSTER, job, profile, plan)
    for track, stage in zip(tracks, stages, strict=True):
        assert track.peak_bytes == pytest.approx(stage.total_bytes, rel=1e-9)
    return tracks


@settings(max_examples=40)
@given(pipelines(max_pp=4, max_virtual=3, max_rounds=4))
def test_the_highest_point_is_the_closed_form(pipeline: dict[str, Any]) -> None:
    """For chunks of equal size, whatever the schedule; rank by rank."""
    plan = PlanSpec(**pipeline)
    model = find_model("llama2-7b").model_copy(update={"n_layers": 2 * plan.n_chunks})
    for software in ("megatron-core-2024", "internevo"):
        tracks_of(model, plan, software)


def test_worked_track_of_1f1b() -> None:
    """Four stages: the first one fills with four microbatches, the last one holds one."""
    plan = PlanSpec(pp=4, n_microbatches=8)
    tracks = tracks_of(find_model("llama2-7b"), plan, "megatron-core-2024")
    first, last = tracks[0], tracks[-1]
    assert len(first.times_s) == len(first.held_bytes)
    assert first.times_s == tuple(sorted(first.times_s))
    assert fullest(tracks) is first
    assert 0.0 < first.peak_s < first.times_s[-1]
    rises = [b - a for a, b in zip(first.held_bytes, first.held_bytes[1:], strict=False)]
    assert sum(rise > 0 for rise in rises[:4]) == 4
    assert last.held_bytes[-1] < last.peak_bytes


def test_everything_is_given_back() -> None:
    plan = PlanSpec(pp=2, schedule="zb-v", virtual_stages=2, n_microbatches=8)
    model = find_model("llama2-7b")
    job = JobSpec(sequence_length=2048, global_batch_sequences=8)
    profile = find_software("default")
    memory = plan_memory(model, CLUSTER, job, profile, plan)
    tracks = tracks_of(model, plan, "default")
    for track, rank in zip(tracks, memory.ranks, strict=True):
        assert track.held_bytes[-1] == pytest.approx(
            memory.used_bytes(track.rank, rank.states_bytes)
        )


def test_counters_in_the_trace() -> None:
    plan = PlanSpec(pp=2, n_microbatches=2)
    tracks = tracks_of(find_model("llama2-7b"), plan, "default")
    events = json.loads(chrome_trace((), title="two stages", memory=tracks))["traceEvents"]
    counters = [event for event in events if event["ph"] == "C"]
    assert len(counters) == sum(len(track.times_s) for track in tracks)
    highest = max(event["args"]["held"] for event in counters if event["pid"] == 0)
    assert highest == pytest.approx(tracks[0].peak_bytes / 2**30, abs=1e-3)


def test_picture_is_reproducible_and_thinned_out() -> None:
    plan = PlanSpec(pp=32, n_microbatches=4)
    tracks = tracks_of(find_model("llama2-7b"), plan, "default")
    picture = memory_track_figure(tracks, capacity_bytes=80 * 2**30)
    assert picture == memory_track_figure(tracks, capacity_bytes=80 * 2**30)
    assert picture.startswith(b"<?xml")
    assert len(picture) < 300_000


def test_a_step_of_many_microbatches_is_drawn_at_both_ends() -> None:
    """One panel would be a solid band; what is not drawn is said."""
    plans = [PlanSpec(pp=2, n_microbatches=n) for n in (8, 256)]
    drawn = [
        memory_track_figure(
            tracks_of(find_model("llama2-7b"), plan, "default"), capacity_bytes=80 * 2**30
        )
        for plan in plans
    ]
    panels = [picture.count(b'id="axes_') for picture in drawn]
    assert panels == [1, 2]
