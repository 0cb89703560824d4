"""Fit the memory constants of eager Llama to what ran and what ran out of memory.

    python scripts/fit_memory.py

Prints the constants fitted to all 964 configurations of arXiv 2311.05610, and for each of its three
models those fitted to the other two and how many answers they get right on it. Takes some minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize

from simulator.catalog import find_software
from simulator.cost.plan_table import BoolArray, FloatArray
from simulator.spec.profiles import SoftwareProfile
from simulator.validate import PUBLISHED
from simulator.validate.express import Case, express
from simulator.validate.memory_constants import UNFUSED_ADAMW_BYTES
from simulator.validate.predicted import peak_memory, share_equal_parts
from simulator.validate.rows import read_rows

EXPECTED: Mapping[str, tuple[float, float]] = {
    "logits_bytes": (22.0, 0.3),
    "ffn_copies": (2.0, 0.5),
    "norm_copies": (2.0, 0.3),
    "update_bytes": (UNFUSED_ADAMW_BYTES, 0.5),
    "framework_bytes": (0.75 * 2**30, 0.5),
    "fragmentation": (0.03, 0.7),
}
"""Constants, what one expects of them, and how far off on a logarithmic scale."""
SOFTNESS = 0.05
"""Prediction over capacity around 1 in which an answer counts half."""
EVALUATIONS = 160


class OutOfMemory:
    """The configurations, and how right some constants are on them."""

    def __init__(self) -> None:
        rows = [row for table in PUBLISHED for row in read_rows(table)]
        wanted = [row for row in rows if row.source_group == "aleph-alpha"]
        cases = [case for case in map(express, wanted) if isinstance(case, Case)]
        told = [case for case in cases if case.row.ran_out_of_memory or not case.row.outcome]
        self.cases = share_equal_parts(told)
        self.models = np.array([case.row.model for case in told])
        self.failed = np.array([case.row.ran_out_of_memory for case in told])
        self.capacity_bytes = np.array([case.cluster.device.memory_bytes for case in told])

    def over(self, point: Sequence[float] | FloatArray) -> FloatArray:
        """Logarithm of the predicted peak over what the device has."""
        peaks = peak_memory(self.cases, self._finder(point))
        used = np.array([peak.used_bytes for peak in peaks])
        ratio: FloatArray = np.log(used / self.capacity_bytes)
        return ratio

    def right(self, point: FloatArray, rows: BoolArray) -> float:
        """Share of right answers on some rows."""
        return float(((self.over(point) > 0) == self.failed)[rows].mean())

    def fit(self, rows: BoolArray, start: FloatArray) -> FloatArray:
        """Return the most likely constants for some rows."""
        widths = np.array([width for _, width in EXPECTED.values()])
        sign = np.where(self.failed, 1.0, -1.0)

        def cost(point: FloatArray) -> float:
            doubt = np.logaddexp(0.0, -sign * self.over(point) / SOFTNESS)
            return float(doubt[rows].sum() + 0.5 * (((point - expected()) / widths) ** 2).sum())

        found: FloatArray = minimize(
            cost,
            start,
            method="Nelder-Mead",
            options={"maxfev": EVALUATIONS, "adaptive": True},
        ).x
        return found

    def _finder(self, point: Sequence[float] | FloatArray) -> Callable[[str], SoftwareProfile]:
        constants = dict(zip(EXPECTED, np.exp(point).tolist(), strict=True))
        known: dict[str, SoftwareProfile] = {}

        def find(name: str) -> SoftwareProfile:
            if name not in known:
                profile = find_software(name)
                own = constants | ({} if profile.memory.norm_copies else {"norm_copies": 0.0})
                memory = profile.memory.model_copy(update=own)
                known[name] = profile.model_copy(update={"memory": memory})
            return known[name]

        return find


def expected() -> FloatArray:
    """Return the logarithms of what one expects."""
    return np.log([value for value, _ in EXPECTED.values()])


def main() -> None:
    """Fit to all, and to all but each model."""
    data = OutOfMemory()
    everything = np.ones(len(data.cases), dtype=np.bool_)
    whole = data.fit(everything, expected())
    _print("all", data.right(whole, everything), whole)
    for model in sorted(set(data.models)):
        own = data.models == model
        others = data.fit(~own, whole)
        _print(f"without {model}, on it", data.right(others, own), others)


def _print(name: str, share: float, point: FloatArray) -> None:
    values = ", ".join(
        f"{each} {value:.3g}" for each, value in zip(EXPECTED, np.exp(point), strict=True)
    )
    print(f"{name}: {share:.1%} right; {values}", flush=True)


if __name__ == "__main__":
    main()
