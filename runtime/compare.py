"""Sets what a run measured beside what its plan predicted, part by part."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.outlook import outlook
from runtime.result import RunResult, StepMetrics, metric_lines, read_metrics
from runtime.run_dir import Event, RunDir, read_events
from runtime.step_split import split_lines
from runtime.time_lost import time_lost
from simulator.catalog.plan_json import read_plan_file
from simulator.spec.base import Basis, Spec
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import CampaignPrediction, StepBreakdown
from simulator.spec.reliability import Outage

if TYPE_CHECKING:
    import pandas as pd

LEAST_LOSS = 0.0005
"""A smaller share of the time is not shown."""
GOOD_ERROR = 0.10
"""A step predicted within this share needs no advice."""


class Quantity(Spec):
    """One number, predicted and measured."""

    predicted: float
    interval: tuple[float, float] | None = None
    """90 % interval of the prediction, where it has one."""
    measured: float
    spread: tuple[float, float] | None = None
    """10th and 90th percentile of what was measured, where it was measured more than once."""

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted / self.measured - 1.0 if self.measured else 0.0


class Part(Spec):
    """One part of a step."""

    name: str
    predicted_s: float
    measured_s: float


class LostTime(Spec):
    """One class of loss, as shares of the run's time."""

    name: str
    predicted: float
    measured: float


class Comparison(Spec):
    """A run beside its prediction: what `compare --json` prints and comparison.json holds."""

    version: Literal[1] = 1
    plan: str
    """Short label of the plan."""
    n_steps: int
    n_warmup_steps: int
    """First steps that are left out: the first fifth."""
    step_s: Quantity
    tokens_per_s: Quantity
    peak_memory_bytes: Quantity
    goodput: Quantity
    """Measured: time in steps that counted over time since the first launch."""
    losses: tuple[LostTime, ...] = ()
    """Where the rest of the time went, by the classes of the campaign; what is 0 on both sides is
    left out. `other` lies between steps, and is negative where steps of several ranks overlap."""
    parts: tuple[Part, ...]
    differs_most: str
    """Name of the part with the largest difference."""
    step_scale: float
    """What would make the predicted step equal the measured one, as calibration.step_scale."""
    suggestion: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row per part: predicted and measured seconds."""
        import pandas as pd

        return pd.DataFrame([part.model_dump() for part in self.parts]).set_index("name")


@dataclass(frozen=True, slots=True)
class _PartRule:
    """Which predicted parts and which measured time are the same thing."""

    name: str
    predicted: tuple[str, ...]
    measured: Callable[[StepMetrics], float]


PART_RULES = (
    _PartRule(
        "forward + backward",
        ("forward", "backward", "recompute", "tp", "cp", "ep", "pp", "dp", "bubble"),
        lambda step: step.forward_backward_s,
    ),
    _PartRule("optimizer", ("optimizer",), lambda step: step.optimizer_s),
    _PartRule(
        "data and the rest",
        ("input", "other"),
        lambda step: step.step_s - step.forward_backward_s - step.optimizer_s,
    ),
)
"""A rank cannot tell waiting for a message from computing beside it, so communication inside the
passes is measured together with them, but for windows of the profiler."""

SPLIT_RULES = {
    "compute": (("compute",), ("forward", "backward", "recompute")),
    "data parallelism": (("dp",), ("dp",)),
    "tensor parallelism": (("tp",), ("tp",)),
    "context parallelism": (("cp",), ("cp",)),
    "expert parallelism": (("ep",), ("ep",)),
    "pipeline": (("bubble",), ("pp", "bubble")),
}
"""Parts of the passes: by names of a split, and of the prediction."""


def compare(run_dir: str | Path) -> Comparison:
    """Compare a run with its prediction and leave comparison.json in its directory.

    Raises InputError when the directory holds no run that was measured.
    """
    place = RunDir(Path(run_dir))
    plan_file = _read_plan(place)
    result = RunResult(run_dir=place.root, steps=_read_steps(place))
    comparison = _compare(plan_file, result, read_events(place))
    write_atomic(place.comparison, comparison.model_dump_json(indent=2) + "\n")
    return comparison


def _read_plan(place: RunDir) -> PlanFile:
    if not place.plan.exists():
        raise InputError("no run here: plan.json is missing", where=str(place.root))
    return read_plan_file(place.plan)


def _read_steps(place: RunDir) -> tuple[StepMetrics, ...]:
    steps = read_metrics(place.metrics)
    if not steps:
        raise InputError(
            "no step was measured here", where=str(place.metrics), fix="let the run finish a step"
        )
    return steps


def _compare(plan_file: PlanFile, result: RunResult, events: list[Event]) -> Comparison:
    step, steady = plan_file.prediction.step, result.steady_steps
    step_s = Quantity(
        predicted=step.step_s,
        interval=step.interval_step_s.ends,
        measured=result.step_s,
        spread=_spread([metrics.step_s for metrics in steady]),
    )
    parts = tuple(_part(rule, step.breakdown, steady) for rule in PART_RULES)
    parts = (*_split_parts(result, step.breakdown, parts[0]), *parts[1:])
    scale = _scale(step_s, step.breakdown)
    campaign = outlook(plan_file, _injected(plan_file, events))
    calibration = plan_file.scenario.cluster.calibration
    if calibration is not None:
        scale *= calibration.step_scale
    return Comparison(
        plan=plan_file.plan.label(),
        n_steps=len(result.steps),
        n_warmup_steps=len(result.steps) - len(steady),
        step_s=step_s,
        tokens_per_s=Quantity(
            predicted=step.tokens_per_s,
            measured=result.tokens_per_s,
            spread=_spread([metrics.tokens_per_s for metrics in steady]),
        ),
        peak_memory_bytes=Quantity(
            predicted=step.peak_memory_bytes, measured=result.peak_memory_bytes
        ),
        goodput=Quantity(predicted=campaign.goodput, measured=_measured_goodput(result, events)),
        losses=_losses(
            campaign, time_lost(metric_lines(RunDir(result.run_dir).metrics).new(), events)
        ),
        parts=parts,
        differs_most=max(parts, key=lambda part: abs(part.predicted_s - part.measured_s)).name,
        step_scale=scale,
        suggestion=_suggestion(plan_file, step_s, scale),
    )


def _part(rule: _PartRule, breakdown: StepBreakdown, steady: tuple[StepMetrics, ...]) -> Part:
    predicted = dict(breakdown.parts())
    return Part(
        name=rule.name,
        predicted_s=sum(predicted[name] for name in rule.predicted),
        measured_s=statistics.median(rule.measured(step) for step in steady),
    )


def _split_parts(result: RunResult, breakdown: StepBreakdown, passes: Part) -> tuple[Part, ...]:
    """Return the passes by what their time went to, where windows of the profiler say so.

    Watched steps are slower, so their shares are taken of the steps that were not.
    """
    splits = split_lines(RunDir(result.run_dir).splits).new()
    if not splits:
        return (passes,)
    predicted = dict(breakdown.parts())
    measured = {
        name: statistics.fmean(split.parts()[name] for split in splits)
        for names in SPLIT_RULES.values()
        for name in names[0]
    }
    scale = passes.measured_s / sum(measured.values())
    pairs = (
        Part(
            name=part,
            predicted_s=sum(predicted[name] for name in names),
            measured_s=scale * sum(measured[name] for name in ours),
        )
        for part, (ours, names) in SPLIT_RULES.items()
    )
    return tuple(pair for pair in pairs if max(pair.predicted_s, pair.measured_s) > 0)


def _spread(values: list[float]) -> tuple[float, float] | None:
    """10th and 90th percentile; None for fewer than three values."""
    if len(values) < 3:
        return None
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def _measured_goodput(result: RunResult, events: list[Event]) -> float:
    """Time in steps that counted over the time since the first launch."""
    useful_s = sum(step.step_s for step in result.steps)
    starts = [event.time_s for event in events if event.event in ("launch", "start")]
    ends = [event.time_s for event in events if event.event == "end"]
    if not starts or not ends:
        return 1.0
    return min(1.0, useful_s / (max(ends) - min(starts)))


def _scale(step_s: Quantity, breakdown: StepBreakdown) -> float:
    """Return by what the scaled parts of a step must grow; the constant one and waits stay."""
    fixed_s = breakdown.other_s + breakdown.input_s
    if min(step_s.measured, step_s.predicted) <= fixed_s:
        return step_s.measured / step_s.predicted
    return (step_s.measured - fixed_s) / (step_s.predicted - fixed_s)


def _losses(campaign: CampaignPrediction, measured: dict[str, float]) -> tuple[LostTime, ...]:
    """Set the classes side by side; none where nothing was measured."""
    pairs = (
        LostTime(name=name, predicted=campaign.losses.get(name, 0.0), measured=share)
        for name, share in measured.items()
    )
    return tuple(pair for pair in pairs if max(pair.predicted, abs(pair.measured)) >= LEAST_LOSS)


def _injected(plan_file: PlanFile, events: list[Event]) -> tuple[Outage, ...]:
    """Return the outages of the scenario if they were injected."""
    has_struck = any(event.event == "fault" for event in events)
    return plan_file.scenario.reliability.replay if has_struck else ()


def _suggestion(plan_file: PlanFile, step_s: Quantity, scale: float) -> str:
    """What would bring the next prediction closer."""
    if abs(step_s.error) <= GOOD_ERROR:
        return "the prediction holds"
    if plan_file.prediction.step.basis is not Basis.MEASURED:
        return "measure this machine (armillary calibrate) and plan with the cluster file it writes"
    return (
        "let the cluster file learn from this run (armillary compare RUN --update FILE: steps take "
        f"{scale:.3g} times what its kernels say), or calibrate again while the machine is quiet"
    )
