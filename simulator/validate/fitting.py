"""Fit constants to measured step times: weighted, robust least squares around priors.

Every source weighs the same, whatever its number of rows; within a source every kind of run
(device, number format, dense or mixture) weighs with the square root of its rows, and a
configuration counts once per software generation. The optimizer is Gauss-Newton with Levenberg's
damping in the logarithm (or logit) of the constants; residuals beyond two standard deviations pull
linearly (Huber).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import BoolArray, FloatArray
from simulator.validate.constants import Constants
from simulator.validate.express import Case
from simulator.validate.free_constants import Parameter
from simulator.validate.predicted import step_seconds

SIGMA = 0.05
"""What a step time is believed to scatter by, on a logarithmic scale."""
ROWS_PER_SOURCE = 30.0
"""Independent rows that a source counts for."""
HUBER = 2.0
STEP = 0.02
"""Difference for the derivatives, in the transformed constant."""
LARGEST_STEP = 0.5
SMALLEST_GAIN = 0.3
"""Of the cost, below which a fit ends."""
LINEAR_ITERATIONS = 12
DAMPINGS = (1e-3, 3e-2, 1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Constants and the step times they give."""

    values: FloatArray
    """In the order of the parameters."""
    predicted_s: FloatArray
    derivatives: FloatArray
    """Of the logarithm of every step time by every transformed constant; (cases, parameters)."""


class Fit:
    """Cases with measured step times, and the parameters to fit to them."""

    def __init__(self, cases: Sequence[Case], parameters: Sequence[Parameter]) -> None:
        self.cases = list(cases)
        self.parameters = list(parameters)
        self.measured_s = np.array([case.row.step_s or math.nan for case in cases])
        self.sources = np.array([case.row.source_group for case in cases])
        self.weights = _weights(self.cases)
        self.start = np.array([_transform(each, each.prior) for each in parameters])
        self.widths = np.array([each.width for each in parameters])

    def predict(self, point: FloatArray, rows: BoolArray | None = None) -> FloatArray:
        """Step times with the constants at a point of the transformed space; NaN elsewhere."""
        chosen = np.ones(len(self.cases), dtype=bool) if rows is None else rows
        constants = Constants.of(self.parameters, self._values(point))
        result = np.full(len(self.cases), np.nan)
        cases = [case for case, wanted in zip(self.cases, chosen, strict=True) if wanted]
        result[chosen] = step_seconds(constants.changed(cases), constants.find_software)
        return result

    def run(self, *, values: Sequence[float] | None = None, iterations: int = 4) -> Fitted:
        """Fit to all cases, from the expected values or from others that are nearer."""
        point = self.start if values is None else self._point(np.asarray(values))
        predicted_s = self.predict(point)
        cost = self._cost(predicted_s, point, self.weights)
        derivatives = self._derivatives(point, predicted_s)
        for iteration in range(iterations):
            if iteration and iteration % 2 == 0:
                derivatives = self._derivatives(point, predicted_s)
            better = self._better(point, predicted_s, cost, derivatives)
            if better is None:
                break
            gain, (point, predicted_s, cost) = cost - better[2], better
            if gain < SMALLEST_GAIN:
                break
        return Fitted(self._values(point), predicted_s, derivatives)

    def leave_one_source_out(self, fitted: Fitted) -> dict[str, Fitted]:
        """Return the constants fitted without each of the sources, and its step times by them.

        To first order around the fit to all: step times follow from its derivatives.
        """
        return {
            str(source): self._without(self.sources == source, fitted)
            for source in sorted(set(self.sources))
        }

    def _without(self, left_out: BoolArray, fitted: Fitted) -> Fitted:
        weights = self.weights * ~left_out
        at = point = self._point(fitted.values)
        logs = np.log(fitted.predicted_s / self.measured_s)
        for _ in range(LINEAR_ITERATIONS):
            residuals = logs + fitted.derivatives @ (point - at)
            normal, slope = self._normal(residuals, point, fitted.derivatives, weights)
            point = point - np.linalg.solve(normal, slope)
        return Fitted(self._values(point), self.predict(point, left_out), fitted.derivatives)

    def _normal(
        self, residuals: FloatArray, point: FloatArray, derivatives: FloatArray, weights: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Matrix and gradient of the normal equations; far residuals pull less."""
        far = np.maximum(np.abs(residuals) / SIGMA, 1e-9)
        pull = weights * np.minimum(1.0, HUBER / far) / SIGMA**2
        normal = derivatives.T @ (pull[:, None] * derivatives) + np.diag(1.0 / self.widths**2)
        slope = derivatives.T @ (pull * residuals) + (point - self.start) / self.widths**2
        return normal, slope

    def _better(
        self, point: FloatArray, predicted_s: FloatArray, cost: float, derivatives: FloatArray
    ) -> tuple[FloatArray, FloatArray, float] | None:
        """Return the next point, its step times and its cost; None where nothing is better."""
        residuals = np.log(predicted_s / self.measured_s)
        normal, slope = self._normal(residuals, point, derivatives, self.weights)
        for damping in DAMPINGS:
            damped = normal + damping * np.diag(np.diag(normal))
            step = np.clip(-np.linalg.solve(damped, slope), -LARGEST_STEP, LARGEST_STEP)
            there_s = self.predict(point + step)
            there = self._cost(there_s, point + step, self.weights)
            if there < cost:
                return point + step, there_s, there
        return None

    def _cost(self, predicted_s: FloatArray, point: FloatArray, weights: FloatArray) -> float:
        far = np.abs(np.log(predicted_s / self.measured_s)) / SIGMA
        loss = np.where(far < HUBER, far**2, 2.0 * HUBER * far - HUBER**2)
        distance = (point - self.start) / self.widths
        return float((weights * loss).sum() + (distance**2).sum())

    def _derivatives(self, point: FloatArray, predicted_s: FloatArray) -> FloatArray:
        result = np.zeros((len(self.cases), len(self.parameters)))
        for column, parameter in enumerate(self.parameters):
            rows = np.array([_depends(case, parameter) for case in self.cases])
            there = point.copy()
            there[column] += STEP
            moved_s = self.predict(there, rows)
            result[rows, column] = np.log(moved_s[rows] / predicted_s[rows]) / STEP
        return result

    def _values(self, point: FloatArray) -> FloatArray:
        return np.array([_value(each, at) for each, at in zip(self.parameters, point, strict=True)])

    def _point(self, values: FloatArray) -> FloatArray:
        return np.array(
            [_transform(each, value) for each, value in zip(self.parameters, values, strict=True)]
        )


def _weights(cases: Sequence[Case]) -> FloatArray:
    kinds = [_kind(case) for case in cases]
    repeats = Counter(_configuration(case) for case in cases)
    once = np.array([1.0 / repeats[_configuration(case)] for case in cases])
    rows: dict[tuple[str, ...], float] = defaultdict(float)
    for kind, share in zip(kinds, once, strict=True):
        rows[kind] += share
    per_source: dict[str, float] = defaultdict(float)
    for kind, count in rows.items():
        per_source[kind[0]] += math.sqrt(count)
    shares = [math.sqrt(rows[kind]) / rows[kind] / per_source[kind[0]] for kind in kinds]
    result: FloatArray = ROWS_PER_SOURCE * once * np.array(shares)
    return result


def _kind(case: Case) -> tuple[str, ...]:
    family = "dense" if case.model.moe is None else "mixture"
    return case.row.source_group, case.cluster.device.name, str(case.job.precision), family


def _configuration(case: Case) -> str:
    return f"{_kind(case)}{case.model!r}{case.job!r}{case.plan!r}{case.cluster.n_devices}"


def _transform(parameter: Parameter, value: float) -> float:
    return math.log(value if parameter.scale == "log" else value / (1.0 - value))


def _value(parameter: Parameter, at: float) -> float:
    return math.exp(at) if parameter.scale == "log" else 1.0 / (1.0 + math.exp(-at))


def _depends(case: Case, parameter: Parameter) -> bool:
    name = {
        "device": case.cluster.device.name,
        "scale-up": case.cluster.device.name,
        "fabric": case.cluster.fabric.name,
        "software": case.job.software,
    }[parameter.kind]
    return name in parameter.names
