"""What a run measured: typed values, read from metrics.jsonl."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.json_lines import JsonLines

if TYPE_CHECKING:
    import pandas as pd

WARMUP_SHARE = 0.2
ADDED = ("mfu", "end_s")
"""What the lines of older runs lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """One line of metrics.jsonl. Times and memory are those of the slowest or fullest rank."""

    step: int
    """From 1."""
    loss: float
    """Mean over the global batch."""
    grad_norm: float
    """Of the whole model, before clipping."""
    learning_rate: float
    step_s: float
    """From the end of the step before to the end of this one, checkpoints left out."""
    data_s: float
    forward_backward_s: float
    """With everything that overlaps it: pipeline, weight gathering, gradient reduction."""
    optimizer_s: float
    """Gradient norm, clipping and update, of the rank that waits least for the others: what it
    would wait for are the longest passes."""
    tokens_per_s: float
    """Of the whole job."""
    peak_memory_bytes: float
    """Since the start of the run."""
    mfu: float = 0.0
    """Model FLOPs over what all devices could do at their peak."""
    end_s: float = 0.0
    """When it ended, since 1970."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, record: dict[str, Any]) -> StepMetrics:
        """Return the step of a line. Raises KeyError, TypeError or ValueError."""
        names = {field.name for field in fields(cls)} - {"step", *ADDED}
        return cls(
            step=int(record["step"]),
            **{name: float(record[name]) for name in names},
            **{name: float(record.get(name, 0.0)) for name in ADDED},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run."""

    run_dir: Path
    steps: tuple[StepMetrics, ...]
    n_skipped_shards: int = 0
    """Files of the data that could not be read, and were left out."""

    @property
    def losses(self) -> tuple[float, ...]:
        """Loss of every step."""
        return tuple(step.loss for step in self.steps)

    @property
    def steady_steps(self) -> tuple[StepMetrics, ...]:
        """The steps without the first fifth, in which allocators and caches fill."""
        return self.steps[
            int(len(self.steps) * WARMUP_SHARE + 0.999) if len(self.steps) > 1 else 0 :
        ]

    @property
    def step_s(self) -> float:
        """Median time of the steady steps."""
        return statistics.median(step.step_s for step in self.steady_steps)

    @property
    def tokens_per_s(self) -> float:
        """Median rate of the steady steps."""
        return statistics.median(step.tokens_per_s for step in self.steady_steps)

    @property
    def peak_memory_bytes(self) -> float:
        """Peak of the fullest rank."""
        return max(step.peak_memory_bytes for step in self.steps)

    def to_frame(self) -> pd.DataFrame:
        """Return the steps as a table."""
        import pandas as pd

        return pd.DataFrame([asdict(step) for step in self.steps])


def metric_lines(path: Path) -> JsonLines[StepMetrics]:
    """Return the reader of a metrics.jsonl, from the first step on."""
    return JsonLines(path, StepMetrics.parse, kind="metrics")


def read_metrics(path: Path) -> tuple[StepMetrics, ...]:
    """Return the steps of a metrics.jsonl; of a step that was repeated, the last one.

    A run that resumes from a checkpoint repeats the steps after it. Raises InputError for a
    foreign line.
    """
    steps = {step.step: step for step in metric_lines(path).new()}
    return tuple(steps[step] for step in sorted(steps))
