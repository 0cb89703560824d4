"""Fits the constants to the published runs, with and without each source, and prints both errors.

The fitted values stand in the catalog; this says what they are, what they were expected to be, and
how wrong predictions are on a source that had no part in them. Some ten minutes. `docs/accuracy.md`
holds the last result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.plan_table import BoolArray, FloatArray
from simulator.validate.corrections import OUTLIERS
from simulator.validate.express import Case, express
from simulator.validate.fitting import Fit, Fitted
from simulator.validate.judge import PUBLISHED
from simulator.validate.parameters import PARAMETERS
from simulator.validate.predicted import share_equal_parts, with_recompute
from simulator.validate.rows import read_rows

TEXTBOOK = ("a100-sxm-80gb", "a800-sxm-80gb", "h100-sxm-80gb", "h100-96gb-hbm2e-500w")


def timed_cases() -> list[Case]:
    """Return the published runs with a measured time and known dimensions, outliers left out."""
    rows = [row for row in read_rows(PUBLISHED[0]) if row.step_s and row.id not in OUTLIERS]
    cases = [case for case in map(express, rows) if isinstance(case, Case)]
    return with_recompute(share_equal_parts(cases))


@dataclass(frozen=True)
class Judged:
    fit: Fit
    fitted: Fitted
    left_out_s: FloatArray

    def classes(self) -> dict[str, BoolArray]:
        cases = self.fit.cases
        moe = np.array([case.model.moe is not None for case in cases])
        low = np.array([case.job.precision.value not in ("bf16", "fp16") for case in cases])
        device = np.array([case.cluster.device.name for case in cases])
        hopper = np.isin(device, TEXTBOOK)
        tpu = np.char.startswith(device, "tpu")
        return {
            "all": np.ones(len(cases), dtype=bool),
            "A100/H100, dense, 16 bit": hopper & ~moe & ~low,
            "H100, dense, fp8": hopper & ~moe & low,
            "Blackwell, dense": ~hopper & ~tpu & ~moe,
            "mixtures": moe,
            "TPU": tpu,
        }

    def errors(self, rows: BoolArray, predicted_s: FloatArray) -> dict[str, float]:
        """Mean error per source, every configuration counted once by the weights."""
        error = np.abs(predicted_s / self.fit.measured_s - 1.0)
        weights = self.fit.weights
        result = {}
        for source in sorted(set(self.fit.sources[rows])):
            own = rows & (self.fit.sources == source)
            result[str(source)] = float((error * weights)[own].sum() / weights[own].sum())
        return result


def main() -> None:
    fit = Fit(timed_cases(), PARAMETERS)
    fitted = fit.run()
    judged = Judged(fit, fitted, fit.leave_one_source_out(fitted))
    print("| step time | rows | fitted | source left out |\n| --- | --: | --: | --: |")
    for name, rows in judged.classes().items():
        own = np.mean(list(judged.errors(rows, fitted.predicted_s).values()))
        out = np.mean(list(judged.errors(rows, judged.left_out_s).values()))
        print(
            f"| {name} (mean of sources) | {rows.sum()} | {100 * own:.1f} % | {100 * out:.1f} % |"
        )
    everything = judged.classes()["all"]
    own_by_source = judged.errors(everything, fitted.predicted_s)
    out_by_source = judged.errors(everything, judged.left_out_s)
    for source, own in own_by_source.items():
        rows = (fit.sources == source).sum()
        print(f"| {source} | {rows} | {100 * own:.1f} % | {100 * out_by_source[source]:.1f} % |")
    print("\n| constant | expected | fitted |\n| --- | --: | --: |")
    for parameter, value in zip(fit.parameters, fitted.values, strict=True):
        print(f"| {parameter.label} | {parameter.prior:.4g} | {value:.3g} |")


if __name__ == "__main__":
    main()
