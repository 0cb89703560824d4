"""What was fitted on a machine reaches the price of a step."""

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.groups import axis_group
from simulator.cost.measured_work import added_s, measured_work
from simulator.cost.passes import BACKWARD_TRAFFIC
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.base import Precision
from simulator.spec.cluster import Calibration, ClusterSpec, ExchangeFit, ExchangeName, WorkFit
from simulator.spec.job import JobSpec
from simulator.spec.plan import PlanSpec

NOTHING = WorkFit(
    layer_s=0.0,
    layer_value_s=0.0,
    weight_s=0.0,
    head_s=0.0,
    logit_s=0.0,
    update_s=0.0,
    parameter_s=0.0,
)
JOB = JobSpec(sequence_length=128, global_batch_sequences=4, precision=Precision.FP32)


def calibrated(*works: WorkFit, exchanges: tuple[ExchangeFit, ...] = ()) -> ClusterSpec:
    calibration = Calibration(
        date="2026-11-25",
        work=works,
        exchanges=exchanges,
        shared_slowdown=(1.0, 1.0, 1.5, 2.0),
    )
    return parse_cluster("cpu:4").model_copy(update={"calibration": calibration})


def exchange(name: ExchangeName, n_ranks: int, n_busy: int, fixed_s: float) -> ExchangeFit:
    return ExchangeFit(
        exchange=name, n_ranks=n_ranks, n_busy_ranks=n_busy, fixed_s=fixed_s, byte_s=1e-9
    )


def test_the_nearest_session_counts_slowed_to_the_ranks_at_work() -> None:
    works = (
        NOTHING.model_copy(update={"layer_s": 1.0}),
        NOTHING.model_copy(update={"n_busy_ranks": 4, "layer_s": 8.0}),
    )
    found = measured_work(calibrated(*works).calibration, np.array([1.0, 4.0, 3.0]))
    assert found is not None
    # Three ranks at work are nearer to four: 8 s, at a slowdown of 1.5 instead of 2.
    assert found.layer_s == pytest.approx([1.0, 8.0, 6.0])


def test_nothing_measured_means_the_general_model() -> None:
    assert measured_work(None, np.array([1.0])) is None
    assert measured_work(calibrated().calibration, np.array([1.0])) is None


def test_an_exchange_costs_what_its_nearest_fit_says() -> None:
    fits = (exchange("tensor", 2, 2, 1e-3), exchange("tensor", 4, 4, 4e-3))
    cluster = calibrated(exchanges=fits)
    table = PlanTable.of([PlanSpec(tp=2), PlanSpec(tp=4), PlanSpec()])
    group = axis_group(cluster, table, "tp")
    found = added_s("tensor", np.full(3, 1e6), group)
    assert found == pytest.approx([1e-3 + 1e-3, 4e-3 + 1e-3, 0.0])
    assert added_s("sequence", np.full(3, 1e6), group) == pytest.approx(np.zeros(3))


@pytest.mark.parametrize(
    ("field", "times"),
    [("layer_s", (1 + BACKWARD_TRAFFIC) * 6), ("head_s", 1.0), ("update_s", 1.0)],
)
def test_each_constant_adds_what_it_says(field: str, times: float) -> None:
    """Forward and its multiple, the backward, in each of 6 layers; head and update once."""
    model, table = find_model("tiny-llama-5m"), PlanTable.of([PlanSpec(microbatch_sequences=4)])

    def total_s(work: WorkFit) -> float:
        costs = price_step(model, calibrated(work), JOB, find_software("gloo-cpu"), table)
        layers = model.n_layers * (costs.dense.forward.compute_s + costs.dense.backward.compute_s)
        head = costs.head.forward.compute_s + costs.head.backward.compute_s
        return float((layers + head + costs.optimizer_s)[0])

    added = total_s(NOTHING.model_copy(update={field: 0.01})) - total_s(NOTHING)
    assert added == pytest.approx(0.01 * times)


def test_what_was_measured_as_exposed_is_not_hidden_again() -> None:
    table = PlanTable.of([PlanSpec(dp_replicate=4)])
    model = find_model("tiny-llama-5m")
    default = find_software("default")
    open_costs = price_step(model, calibrated(NOTHING), JOB, default, table)
    fits = (exchange("replica-reduce", 4, 4, 1e-3),)
    costs = price_step(model, calibrated(NOTHING, exchanges=fits), JOB, default, table)
    assert open_costs.dp_overlap[0] > 0.0
    assert costs.dp_overlap[0] == 0.0
    assert costs.step_constant_s[0] == 0.0
