"""Finds what the software adds, from reference steps and the cost model that must explain them.

A step's predicted time is linear in the constants of `WorkFit` and `ExchangeFit`. So the constants
are those that, put into the model, bring the predictions closest to the measured reference steps:
non-negative least squares of the relative error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from runtime.calibrate.findings import ReferencePoint
from simulator.catalog import software_of
from simulator.cost.parameters import count_parameters
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.base import Precision
from simulator.spec.cluster import (
    ClusterSpec,
    ExchangeFit,
    ExchangeName,
    WorkFit,
)
from simulator.spec.job import JobSpec
from simulator.step.closed_form import step_times

Constants = npt.NDArray[np.float64]

SCALES = {"fixed": 1e-3, "value": 1e-9, "logit": 1e-8}
"""Sizes near which the constants lie, in seconds: of a fixed part, per value or byte, per logit."""

RIDGE = 0.003
"""Pull of each constant towards zero, in units of its scale: what no step tells stays out."""

EXCHANGES: tuple[tuple[ExchangeName, ...], ...] = (
    ("replica-reduce",),
    ("shard-reduce", "shard-gather"),
    ("tensor",),
    ("sequence",),
    ("stage",),
)
"""Exchanges that the same reference steps tell apart."""


def fit_work(cluster: ClusterSpec, points: Sequence[ReferencePoint]) -> ClusterSpec:
    """Return the cluster with what kernels and exchanges add, for every session of the points.

    `cluster` must hold the measured multiplications and collectives.
    """
    for n_busy in sorted({point.n_busy_ranks for point in points}):
        session = [point for point in points if point.n_busy_ranks == n_busy]
        alone = [point for point in session if point.plan.n_ranks == 1]
        cluster = _with_work(cluster, _fit_alone(cluster, alone, n_busy))
        for n_ranks in sorted({point.plan.n_ranks for point in session} - {1}):
            jobs = [point for point in session if point.plan.n_ranks == n_ranks]
            for names in EXCHANGES:
                chosen = [point for point in jobs if _uses(point, names[0])]
                fits = _fit_exchanges(cluster, chosen, names)
                cluster = _with_exchanges(cluster, fits)
    return cluster


def _uses(point: ReferencePoint, exchange: ExchangeName) -> bool:
    plan = point.plan
    return {
        "replica-reduce": plan.dp_replicate > 1,
        "shard-reduce": plan.dp_shard > 1,
        "shard-gather": plan.dp_shard > 1,
        "tensor": plan.tp > 1 and not plan.sequence_parallel,
        "sequence": plan.tp > 1 and plan.sequence_parallel,
        "stage": plan.pp > 1,
    }[exchange]


def _fit_alone(cluster: ClusterSpec, points: Sequence[ReferencePoint], n_busy: int) -> WorkFit:
    def work(constants: Constants) -> WorkFit:
        layer_s, layer_value_s, weight_s, head_s, logit_s = constants
        return WorkFit(
            n_busy_ranks=n_busy,
            layer_s=layer_s,
            layer_value_s=layer_value_s,
            weight_s=weight_s,
            head_s=head_s,
            logit_s=logit_s,
            update_s=0.0,
            parameter_s=0.0,
        )

    measured_s = np.array([point.passes_s for point in points])
    constants, error = _solve(
        lambda constants: passes_s(_with_work(cluster, work(constants)), points),
        np.array([SCALES[kind] for kind in ("fixed", "value", "value", "fixed", "logit")]),
        measured_s,
    )
    update_s, parameter_s = _fit_update(points)
    return work(constants).model_copy(
        update={"update_s": update_s, "parameter_s": parameter_s, "relative_error": error}
    )


def _fit_update(points: Sequence[ReferencePoint]) -> tuple[float, float]:
    counts = np.array([float(count_parameters(point.model).total) for point in points])
    (update_s, parameter_s), _ = _solve(
        lambda constants: constants[0] + constants[1] * counts,
        np.array([SCALES["fixed"], SCALES["value"]]),
        np.array([point.update_s for point in points]),
    )
    return float(update_s), float(parameter_s)


def _fit_exchanges(
    cluster: ClusterSpec, points: Sequence[ReferencePoint], names: tuple[ExchangeName, ...]
) -> tuple[ExchangeFit, ...]:
    plan, n_busy = points[0].plan, points[0].n_busy_ranks

    def fits(constants: Constants) -> tuple[ExchangeFit, ...]:
        return tuple(
            ExchangeFit(
                exchange=name,
                n_ranks=2 if name == "stage" else plan.n_ranks,
                n_busy_ranks=n_busy,
                fixed_s=constants[2 * at],
                byte_s=constants[2 * at + 1],
            )
            for at, name in enumerate(names)
        )

    constants, _ = _solve(
        lambda constants: passes_s(_with_exchanges(cluster, fits(constants)), points),
        np.array([SCALES["fixed"], SCALES["value"]] * len(names)),
        np.array([point.passes_s for point in points]),
    )
    return fits(constants)


def _solve(
    predict: Callable[[Constants], Constants], scales: Constants, measured_s: Constants
) -> tuple[Constants, float]:
    """Return the constants >= 0 and the mean relative error that is left."""
    from scipy.optimize import nnls

    nothing_s = predict(np.zeros(len(scales)))
    columns = [predict(scales * unit) - nothing_s for unit in np.eye(len(scales))]
    rows = np.stack(columns, axis=1) / measured_s[:, None]
    rows = np.concatenate([rows, RIDGE * np.eye(len(scales))])
    wanted = np.concatenate([1.0 - nothing_s / measured_s, np.zeros(len(scales))])
    multiples, _ = nnls(rows, wanted)
    constants = scales * multiples
    return constants, float(np.abs(predict(constants) / measured_s - 1.0).mean())


def passes_s(cluster: ClusterSpec, points: Sequence[ReferencePoint]) -> Constants:
    """Predicted time of forward and backward with everything exchanged in them."""
    return np.array([_predict_passes_s(cluster, point) for point in points])


def _predict_passes_s(cluster: ClusterSpec, point: ReferencePoint) -> float:
    plan = point.plan
    others = point.n_busy_ranks - plan.n_ranks
    host = cluster.host.model_copy(update={"n_other_ranks": others})
    beside = cluster.model_copy(
        update={"host": host, "devices_per_node": max(plan.n_ranks, cluster.devices_per_node)}
    )
    job = JobSpec(
        sequence_length=point.sequence_length,
        global_batch_sequences=plan.batch_sequences,
        precision=Precision.FP32,
    )
    table = PlanTable.of([plan])
    costs = price_step(point.model, beside, job, software_of(job), table)
    times = step_times(costs, table, point.model, plan.chunk_layers(point.model.n_layers))
    return float((times.step_s - times.optimizer_s - times.other_s)[0])


def _with_work(cluster: ClusterSpec, fit: WorkFit) -> ClusterSpec:
    calibration = cluster.calibration
    assert calibration is not None
    kept = tuple(old for old in calibration.work if old.n_busy_ranks != fit.n_busy_ranks)
    return cluster.model_copy(
        update={"calibration": calibration.model_copy(update={"work": (*kept, fit)})}
    )


def _with_exchanges(cluster: ClusterSpec, fits: tuple[ExchangeFit, ...]) -> ClusterSpec:
    calibration = cluster.calibration
    assert calibration is not None
    exchanges = (*calibration.exchanges, *fits)
    return cluster.model_copy(
        update={"calibration": calibration.model_copy(update={"exchanges": exchanges})}
    )
