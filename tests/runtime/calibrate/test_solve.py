"""Constants that made the reference steps are found again from their times."""

import pytest

from runtime.calibrate import solve
from runtime.calibrate.findings import ReferencePoint
from runtime.calibrate.reference import SEQUENCE_LENGTH, Reference, alone, together
from simulator.catalog.cluster import parse_cluster
from simulator.cost.parameters import count_parameters
from simulator.spec.base import Precision
from simulator.spec.cluster import (
    Calibration,
    ClusterSpec,
    CollectiveFit,
    CollectiveName,
    ExchangeFit,
    ExchangeName,
    WorkFit,
)
from simulator.spec.kernel_table import GemmPoint

TRUE_WORK = WorkFit(
    n_busy_ranks=2,
    layer_s=8e-4,
    layer_value_s=5e-10,
    weight_s=9e-10,
    head_s=4e-4,
    logit_s=7e-9,
    update_s=6e-4,
    parameter_s=1.1e-9,
)
TRUE_EXCHANGES: tuple[tuple[ExchangeName, float, float], ...] = (
    ("shard-reduce", 3e-3, 5e-10),
    ("shard-gather", 1e-3, 8e-10),
    ("tensor", 4e-3, 1.2e-9),
    ("sequence", 5e-3, 3e-9),
)


def machine(work: tuple[WorkFit, ...] = (), exchanges: tuple[ExchangeFit, ...] = ()) -> ClusterSpec:
    names: tuple[CollectiveName, ...] = ("all-reduce", "all-gather", "reduce-scatter", "p2p")
    collectives = tuple(
        CollectiveFit(operation=name, n_ranks=2, alpha_s=4e-4, bandwidth_bytes_per_s=1e9)
        for name in names
    )
    gemm = GemmPoint(m=512, n=512, k=512, precision=Precision.FP32, time_s=2 * 512**3 / 9e10)
    calibration = Calibration(
        date="2026-11-25",
        gemms=(gemm,),
        collectives=collectives,
        shared_slowdown=(1.0, 1.0),
        work=work,
        exchanges=exchanges,
    )
    return parse_cluster("cpu:2").model_copy(update={"calibration": calibration})


def measured_by(cluster: ClusterSpec, references: tuple[Reference, ...]) -> list[ReferencePoint]:
    """Points as they would be measured on a machine with the constants of `cluster`."""
    blank = [
        ReferencePoint(
            model=reference.model,
            sequence_length=SEQUENCE_LENGTH,
            plan=reference.plan,
            n_busy_ranks=2,
            passes_s=1.0,
            update_s=TRUE_WORK.update_s
            + TRUE_WORK.parameter_s * count_parameters(reference.model).total,
        )
        for reference in references
    ]
    seconds = solve.passes_s(cluster, blank)
    return [
        point.model_copy(update={"passes_s": float(time_s)})
        for point, time_s in zip(blank, seconds, strict=True)
    ]


@pytest.fixture(scope="module")
def found() -> Calibration:
    exchanges = tuple(
        ExchangeFit(exchange=name, n_ranks=2, n_busy_ranks=2, fixed_s=fixed_s, byte_s=byte_s)
        for name, fixed_s, byte_s in TRUE_EXCHANGES
    )
    # Steps of a rank alone are made without exchanges, as they were measured.
    true = machine(work=(TRUE_WORK,), exchanges=exchanges)
    points = measured_by(machine(work=(TRUE_WORK,)), alone()) + measured_by(true, together(2))
    calibration = solve.fit_work(machine(), points).calibration
    assert calibration is not None
    return calibration


def test_work_is_found(found: Calibration) -> None:
    (work,) = found.work
    for name in ("layer_s", "layer_value_s", "weight_s", "logit_s", "update_s", "parameter_s"):
        assert getattr(work, name) == pytest.approx(getattr(TRUE_WORK, name), rel=0.1), name
    assert work.relative_error < 0.01


@pytest.mark.parametrize(("name", "fixed_s", "byte_s"), TRUE_EXCHANGES)
def test_exchanges_are_found(
    found: Calibration, name: ExchangeName, fixed_s: float, byte_s: float
) -> None:
    (fit,) = (fit for fit in found.exchanges if fit.exchange == name)
    assert fit.fixed_s == pytest.approx(fixed_s, rel=0.15)
    assert fit.byte_s == pytest.approx(byte_s, rel=0.25)


def test_what_costs_nothing_extra_gets_nothing(found: Calibration) -> None:
    (replica,) = (fit for fit in found.exchanges if fit.exchange == "replica-reduce")
    assert replica.fixed_s < 3e-4


def test_predictions_of_the_references_come_back(found: Calibration) -> None:
    points = measured_by(machine(work=(TRUE_WORK,)), alone())
    cluster = machine(work=found.work)
    again = solve.passes_s(cluster, points)
    assert again == pytest.approx([point.passes_s for point in points], rel=0.01)


def test_every_reference_is_a_plan_of_that_many_ranks() -> None:
    for n_ranks in (2, 3, 4):
        for reference in together(n_ranks):
            assert reference.plan.n_ranks == n_ranks
            assert reference.scenario.job.batch_sequences == reference.plan.batch_sequences
    assert all(reference.plan.n_ranks == 1 for reference in alone())
