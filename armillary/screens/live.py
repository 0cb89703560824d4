"""What `armillary run --live` shows: one table that changes with every step."""

from __future__ import annotations

import sys
from collections import Counter, deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from armillary.training import Training
from runtime.result import StepMetrics
from runtime.run_dir import RunDir, event_lines
from simulator.spec.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"
N_BARS = 40
SHOWN_EVENTS = ("failure", "restart", "replan", "wait", "straggler", "checkpoint-failed")


def sparkline(values: list[float]) -> str:
    """Return values as bars between their least and their largest."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)


class LiveView:
    """Draws the last step and what has happened, until it is left."""

    def __init__(self, training: Training, console: Console | None = None) -> None:
        """Draw on `console`, by default on stderr."""
        from rich import console as consoles
        from rich.live import Live

        self._n_steps = training.n_steps
        self._predicted = training.plan_file.prediction.step
        self._events = event_lines(RunDir(training.run_dir))
        self._counts: Counter[str] = Counter()
        self._losses: deque[float] = deque(maxlen=N_BARS)
        self._steps_s: deque[float] = deque(maxlen=N_BARS)
        self._live = Live(console=console or consoles.Console(file=sys.stderr), auto_refresh=False)

    def step(self, metrics: StepMetrics) -> None:
        """Show this step."""
        self._losses.append(metrics.loss)
        self._steps_s.append(metrics.step_s)
        self._counts.update(event.event for event in self._events.new())
        self._live.update(self.table(metrics), refresh=True)

    def table(self, metrics: StepMetrics) -> Table:
        """Return what is shown after a step."""
        from rich.table import Table

        predicted = self._predicted
        table = Table.grid(padding=(0, 2))
        rows = [
            ("step", f"{metrics.step} of {self._n_steps}", ""),
            ("loss", f"{metrics.loss:.4f}", sparkline(list(self._losses))),
            ("gradient norm", f"{metrics.grad_norm:.3g}", f"rate {metrics.learning_rate:.2e}"),
            ("step time", format_seconds(metrics.step_s), sparkline(list(self._steps_s))),
            (
                "  passes",
                format_seconds(metrics.forward_backward_s),
                f"update {format_seconds(metrics.optimizer_s)}, "
                f"data {format_seconds(metrics.data_s)}",
            ),
            (
                "tokens/s",
                f"{metrics.tokens_per_s:,.0f}",
                f"MFU {100 * metrics.mfu:.1f} %, predicted {predicted.tokens_per_s:,.0f}",
            ),
            (
                "memory",
                format_bytes(metrics.peak_memory_bytes),
                f"predicted {format_bytes(predicted.peak_memory_bytes)}",
            ),
        ]
        seen = [f"{self._counts[name]} {name}" for name in SHOWN_EVENTS if self._counts[name]]
        rows.append(("events", f"{self._counts['checkpoint']} checkpoints", ", ".join(seen)))
        for row in rows:
            table.add_row(*row)
        return table

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)
