"""What became of one row: its prediction beside its measurement."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.spec.fit import verdict
from simulator.spec.prediction import Interval
from simulator.validate.rows import RunRow

BYTES_PER_GB = 2.0**30
"""Tables print GiB, whatever they call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the answer; the predicted values are None where the row was skipped."""

    row: RunRow
    predicted_step_s: float | None = None
    interval_step_s: Interval | None = None
    predicted_memory_bytes: float | None = None
    interval_memory_bytes: Interval | None = None
    fits: bool | None = None
    misfit_probability: float | None = None
    """Probability that the fullest rank needs more memory than there is."""
    software: str | None = None
    assumed: tuple[str, ...] = ()
    skipped: str | None = None
    anchor: bool = False
    """Whether its source was calibrated from it; then its error is not counted."""

    @property
    def measured_memory_bytes(self) -> float | None:
        """Measured peak memory."""
        gigabytes = self.row.measured_mem_gb
        return None if gigabytes is None else gigabytes * BYTES_PER_GB

    @property
    def at_edge(self) -> bool:
        """Whether either may happen: it fits, or it does not."""
        probability = self.misfit_probability
        return probability is not None and verdict(probability) == "edge"

    @property
    def step_ratio(self) -> float | None:
        """Predicted over measured step time, where there are both and they are independent."""
        return None if self.anchor else _ratio(self.predicted_step_s, self.row.step_s)

    @property
    def memory_ratio(self) -> float | None:
        """Predicted over measured memory, where there are both."""
        return _ratio(self.predicted_memory_bytes, self.measured_memory_bytes)

    def covered(self, what: str) -> bool:
        """Whether the measured value ("step" or "memory") is inside its interval."""
        if what == "step":
            interval, measured = self.interval_step_s, self.row.step_s
        else:
            interval, measured = self.interval_memory_bytes, self.measured_memory_bytes
        if interval is None or measured is None:
            return False
        return interval.low <= measured <= interval.high


def _ratio(predicted: float | None, measured: float | None) -> float | None:
    return predicted / measured if predicted is not None and measured else None
