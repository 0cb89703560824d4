"""Whose time it was: computation, an exchange of some axis, or a wait for another stage."""

from __future__ import annotations

import pytest

from runtime.step_split import Span, split_passes
from simulator.spec.plan import PlanSpec
from tests.runtime.plans import fp32


def main(name: str, start_s: float, end_s: float) -> Span:
    return Span(name, start_s, end_s, on_main_thread=True)


def flight(name: str, start_s: float, end_s: float) -> Span:
    return Span(name, start_s, end_s, on_main_thread=False)


@pytest.mark.parametrize(
    ("plan", "operation", "part"),
    [
        (fp32(dp_replicate=2), "c10d::allreduce_", "dp_s"),
        (fp32(dp_shard=2, zero_stage=3), "c10d::_allgather_base_", "dp_s"),
        (fp32(tp=2), "_c10d_functional::all_reduce", "tp_s"),
        (fp32(cp=2), "c10d::recv_", "cp_s"),
        (fp32(pp=2), "c10d::recv_", "bubble_s"),
    ],
)
def test_the_kind_of_an_exchange_tells_its_axis(plan: PlanSpec, operation: str, part: str) -> None:
    spans = [main("aten::mm", 0.0, 1.0), main(operation, 1.0, 1.5), main("aten::mm", 1.5, 2.0)]
    assert split_passes(spans, plan, end_s=2.0) == {"compute_s": 1.5, part: 0.5}


def test_the_innermost_operation_counts() -> None:
    """The backward engine's frame holds computations and exchanges."""
    spans = [
        main("autograd::engine::evaluate_function", 0.0, 10.0),
        main("aten::mm", 0.0, 4.0),
        main("aten::all_reduce_hook", 4.0, 9.0),
        main("_c10d_functional::all_reduce", 5.0, 8.0),
        main("c10d::allreduce_", 5.5, 7.5),  # of the same exchange
    ]
    parts = split_passes(spans, fp32(tp=2), end_s=10.0)
    assert parts == {"compute_s": pytest.approx(7.0), "tp_s": pytest.approx(3.0)}


def test_a_gap_belongs_to_the_exchange_under_way() -> None:
    spans = [
        main("aten::mm", 0.0, 1.0),
        main("c10d::allreduce_", 1.0, 1.1),
        flight("gloo:all_reduce", 1.1, 3.0),
        main("aten::mm", 1.1, 2.0),  # hides half of it
        main("aten::mm", 3.0, 4.0),
        main("aten::mm", 4.5, 5.0),  # after half a second of the host's
    ]
    parts = split_passes(spans, fp32(dp_replicate=2), end_s=5.0)
    assert parts["dp_s"] == pytest.approx(0.1 + 1.0)
    assert parts["compute_s"] == pytest.approx(5.0 - 1.1)


def test_short_gaps_are_the_host_s() -> None:
    spans = [
        flight("gloo:all_reduce", 0.0, 2.0),
        main("aten::mm", 0.0, 1.0),
        main("aten::mm", 1.0001, 2.0),
    ]
    assert split_passes(spans, fp32(dp_replicate=2), end_s=2.0) == {"compute_s": pytest.approx(2.0)}
