"""The trace opens where it must: well-formed, complete, and no slice overlaps another."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.spec.plan import PlanSpec
from simulator.step.events import EventStep, simulate_step
from simulator.step.spans import Span, Trace
from simulator.step.timeline_figure import MAX_LANES, timeline_figure
from simulator.step.trace import chrome_trace, write_chrome_trace
from tests.simulator.step.price_list import layer, model, step_costs

INTERLEAVED = PlanSpec(
    pp=2,
    virtual_stages=2,
    schedule="interleaved-1f1b",
    n_microbatches=4,
    dp_shard=2,
    zero_stage=1,
)


def traced(plan: PlanSpec, **scalars: float) -> tuple[EventStep, list[Span]]:
    costs = step_costs(
        layer(0.001, 0.002, reduce_s=0.0015, gather_s=0.0007),
        **({"p2p_s": 0.0003, "optimizer_s": 0.001, "dp_overlap": 0.5} | scalars),
    )
    trace = Trace()
    return simulate_step(costs, plan, model(2 * plan.n_chunks), trace=trace), trace.spans


def test_every_pass_is_there_once() -> None:
    step, spans = traced(INTERLEAVED)
    body = json.loads(chrome_trace(spans, title="t"))
    slices = [event for event in body["traceEvents"] if event["ph"] == "X"]
    passes = [
        (event["cat"], event["args"]["chunk"], event["args"]["microbatch"])
        for event in slices
        if event["cat"] in ("forward", "backward")
    ]
    assert sorted(passes) == [
        (kind, chunk, microbatch)
        for kind in ("backward", "forward")
        for chunk in range(4)
        for microbatch in range(4)
    ]
    assert max(event["ts"] + event["dur"] for event in slices) == pytest.approx(
        step.step_s * 1e6, abs=1e-2
    )


def test_processes_and_threads_are_named() -> None:
    _, spans = traced(INTERLEAVED)
    events = json.loads(chrome_trace(spans, title="t"))["traceEvents"]
    names = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in events
        if event["name"] == "thread_name"
    }
    assert names == {
        (rank, thread): name
        for rank in (0, 1)
        for thread, name in ((1, "compute"), (2, "collectives"), (3, f"to rank {1 - rank}"))
    }
    processes = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert processes == ["stage 0", "stage 1"]


@given(
    st.floats(0.0, 0.002),
    st.floats(0.0, 1.0),
    st.sampled_from([INTERLEAVED, PlanSpec(pp=3, n_microbatches=5), PlanSpec(n_microbatches=2)]),
)
def test_slices_of_a_thread_nest_or_are_disjoint(
    p2p_s: float, overlap: float, plan: PlanSpec
) -> None:
    _, spans = traced(plan, p2p_s=p2p_s, p2p_overlap=overlap, dp_overlap=overlap)
    threads = defaultdict(list)
    for event in json.loads(chrome_trace(spans, title="t"))["traceEvents"]:
        if event["ph"] == "X":
            assert event["dur"] >= 0
            start_ns = round(event["ts"] * 1000)
            threads[event["pid"], event["tid"]].append(
                (start_ns, start_ns + round(event["dur"] * 1000))
            )
    for slices in threads.values():
        open_until: list[int] = []
        for start_ns, end_ns in slices:
            while open_until and open_until[-1] <= start_ns:
                open_until.pop()
            assert not open_until or end_ns <= open_until[-1]
            open_until.append(end_ns)


def test_trace_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    _, spans = traced(INTERLEAVED)
    write_chrome_trace(tmp_path / "t.json", spans, title="a step")
    assert json.loads((tmp_path / "t.json").read_text())["otherData"]["title"] == "a step"
    assert [file.name for file in tmp_path.iterdir()] == ["t.json"]
    with pytest.raises(OSError, match="no-such-folder"):
        write_chrome_trace(tmp_path / "no-such-folder" / "t.json", spans, title="t")


def test_picture_shows_every_stage_and_is_reproducible() -> None:
    _, spans = traced(INTERLEAVED)
    picture = timeline_figure(spans, title="two stages")
    assert picture.startswith(b"<?xml")
    assert b"two stages" in picture
    assert picture == timeline_figure(spans, title="two stages")
    assert timeline_figure(spans, title="two stages", form="png").startswith(b"\x89PNG")


def test_picture_of_a_long_pipeline_is_thinned_out_and_small() -> None:
    _, spans = traced(PlanSpec(pp=64, n_microbatches=128))
    picture = timeline_figure(spans, title="long")
    assert len(picture) < 500_000
    assert picture.count(b"% idle") == MAX_LANES
    assert b"a part of the above" in picture  # passes as narrow as a hair are drawn again


def test_picture_shows_what_is_exchanged() -> None:
    _, spans = traced(INTERLEAVED)
    legend = timeline_figure(spans, title="two stages")
    assert b"between stages" in legend
    assert b"a part of the above" not in legend
