"""Fit the constants to the published runs, with and without each source.

`python scripts/fit.py` takes some minutes. It starts from the constants that are stored (without
their rows in simulator/validate/constants.csv, from what is expected), writes them, and prints the
errors and where the catalog holds other values; its data files are edited by hand, and a test
compares them.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.cost.plan_table import FloatArray
from simulator.spec.files import write_atomic
from simulator.validate.constants import (
    FITTED,
    STORED,
    Values,
    catalog_value,
    constants_table,
    stored_values,
)
from simulator.validate.corrections import OUTLIERS
from simulator.validate.express import Case, express
from simulator.validate.fitting import Fit, Fitted
from simulator.validate.free_constants import PARAMETERS
from simulator.validate.judge import PUBLISHED
from simulator.validate.predicted import share_equal_parts, with_recompute
from simulator.validate.rows import read_rows


def timed_cases() -> list[Case]:
    """Return the published runs with a measured time and known dimensions, outliers left out."""
    rows = [row for row in read_rows(PUBLISHED[0]) if row.step_s and row.id not in OUTLIERS]
    cases = [case for case in map(express, rows) if isinstance(case, Case)]
    return with_recompute(share_equal_parts(cases))


def errors_by_source(fit: Fit, predicted_s: FloatArray) -> dict[str, float]:
    """Return the mean error of every source, each configuration counted once."""
    error = np.abs(predicted_s / fit.measured_s - 1.0)
    return {
        str(source): float(np.average(error[own], weights=fit.weights[own]))
        for source in sorted(set(fit.sources))
        for own in [fit.sources == source]
    }


def print_errors(fit: Fit, fitted_s: FloatArray, left_out_s: FloatArray) -> None:
    """Print a table of both errors."""
    own, out = errors_by_source(fit, fitted_s), errors_by_source(fit, left_out_s)
    print("| source | fitted | left out |\n| --- | --: | --: |")
    for source in own:
        print(f"| {source} | {100 * own[source]:.1f} % | {100 * out[source]:.1f} % |")
    means = [100 * float(np.mean(list(each.values()))) for each in (own, out)]
    print(f"| mean | {means[0]:.1f} % | {means[1]:.1f} % |")


def print_differences(values: Values) -> None:
    """Print the constants that the catalog holds otherwise."""
    for each in PARAMETERS:
        for name in each.names:
            held, fitted = catalog_value(each, name), float(f"{values[each.label]:.3g}")
            if not math.isclose(held, fitted):
                print(f"catalog: {each.kind} {name} {each.field}: {held:.4g} is now {fitted:g}")


def main() -> None:
    """Fit, store and print."""
    fit = Fit(timed_cases(), PARAMETERS)
    near = stored_values()[FITTED]
    fitted = fit.run(values=[near.get(each.label, each.prior) for each in PARAMETERS])
    columns = {FITTED: _values(fitted)}
    left_out_s = np.empty(len(fit.cases))
    for source, result in fit.leave_one_source_out(fitted).items():
        columns[source] = _values(result)
        own = fit.sources == source
        left_out_s[own] = result.predicted_s[own]
    write_atomic(STORED, constants_table(columns))
    print_errors(fit, fitted.predicted_s, left_out_s)
    print_differences(columns[FITTED])


def _values(fitted: Fitted) -> Values:
    labels = [each.label for each in PARAMETERS]
    return dict(zip(labels, fitted.values.tolist(), strict=True))


if __name__ == "__main__":
    main()
