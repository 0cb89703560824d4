"""The one-number queue against SimPy's own resource."""

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from simulator.step.spans import Trace
from simulator.step.streams import Stream

JOBS = st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 3.0)), min_size=1, max_size=30)


def done_by_resource(jobs: list[tuple[float, float]]) -> list[float]:
    """Ends of jobs (gap to the one before, duration) on a simpy.Resource of capacity 1."""
    environment = simpy.Environment()
    server = simpy.Resource(environment, capacity=1)
    ends: list[float] = []

    def job(duration_s: float) -> simpy.events.ProcessGenerator:
        with server.request() as turn:
            yield turn
            yield environment.timeout(duration_s)
        ends.append(environment.now)

    def arrivals() -> simpy.events.ProcessGenerator:
        for gap_s, duration_s in jobs:
            yield environment.timeout(gap_s)
            environment.process(job(duration_s))

    environment.process(arrivals())
    environment.run()
    return ends


@given(JOBS)
def test_stream_is_a_resource_of_capacity_one(jobs: list[tuple[float, float]]) -> None:
    stream = Stream(rank=0, track="t")
    now_s, ends = 0.0, []
    for gap_s, duration_s in jobs:
        now_s += gap_s
        ends.append(stream.submit(now_s, duration_s, "p2p", "job"))
    assert ends == pytest.approx(done_by_resource(jobs))


def test_jobs_leave_spans_that_do_not_overlap() -> None:
    trace = Trace()
    stream = Stream(rank=3, track="collectives", trace=trace)
    stream.submit(1.0, 2.0, "reduce", "first")
    stream.submit(1.5, 0.0, "reduce", "takes no time")
    stream.submit(2.0, 1.0, "gather", "second")
    assert [(s.name, s.start_s, s.end_s) for s in trace.spans] == [
        ("first", 1.0, 3.0),
        ("second", 3.0, 4.0),
    ]


@pytest.mark.parametrize(
    ("work_s", "contention", "taken_s"),
    [
        (1.0, 0.0, 1.0),
        (1.0, 0.5, 2.0),  # the whole work beside the collective, at half speed
        (3.0, 0.5, 4.0),  # two busy seconds do one second's work, then two at full speed
        (3.0, 0.25, 3.5),
    ],
)
def test_compute_beside_a_busy_stream(work_s: float, contention: float, taken_s: float) -> None:
    stream = Stream(rank=0, track="t")
    stream.submit(0.0, 12.0, "reduce", "job")
    assert stream.slowed(10.0, work_s, contention) == pytest.approx(taken_s)
    assert stream.slowed(12.0, work_s, contention) == work_s
