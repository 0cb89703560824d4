"""Why a plan: what limits it, where its numbers come from, how it differs from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from planner.decisions import decision_reasons
from planner.losses import PART_NAMES
from planner.number import Case, Input, Number, place_of
from planner.numbers import NUMBERS
from planner.odds import Odds
from planner.pricing import memory_margin
from simulator.spec.base import Spec
from simulator.spec.errors import unknown_name
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile, RankedPlan
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.spec.units import (
    format_bytes,
    format_probability,
    format_range,
    format_seconds,
    format_share,
    format_usd,
)

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_PARTS = 3


class ExplainedInput(Spec):
    """One thing that a number was made of."""

    name: str
    value: str
    source: str


class ExplainedNumber(Spec):
    """A number with its formula and what went in."""

    name: str
    value: str
    interval: str
    """90 %; empty where there is none."""
    formula: str
    computed_by: str
    """File and function."""
    meaning: str
    """What that function says about itself, literature included."""
    inputs: tuple[ExplainedInput, ...]


class ChangedPart(Spec):
    """A part of the step in two plans."""

    name: str
    this_s: float
    other_s: float


class Difference(Spec):
    """How a plan differs from another one of the same scenario."""

    other: str
    decisions: tuple[str, ...]
    """'pp 8 instead of 16'."""
    step_s: tuple[float, float]
    parts: tuple[ChangedPart, ...]
    """Largest difference first; equal parts are left out."""
    peak_memory_bytes: tuple[float, float]


class Explanation(Spec):
    """What `armillary explain --json` prints."""

    version: Literal[1] = 1
    rank: int | None
    """Of the file's ranked plans; None for a plan that is not among them."""
    label: str
    plan: PlanSpec
    limits: tuple[str, ...]
    """What binds, in sentences."""
    decisions: tuple[str, ...]
    """What the plan does about failures, and what other decisions would change."""
    numbers: tuple[ExplainedNumber, ...]
    assumptions: tuple[str, ...]
    against: Difference | None

    def to_frame(self) -> pd.DataFrame:
        """Return one row per number: value, formula and where it is computed."""
        import pandas as pd

        rows = [each.model_dump(exclude={"inputs", "meaning"}) for each in self.numbers]
        return pd.DataFrame(rows).set_index("name")


def explain(
    plan_file: PlanFile, *, against: int | None = None, number: str | None = None
) -> Explanation:
    """Explain the chosen plan of a file, all its numbers or one, also against a ranked one.

    Raises InputError for a rank that is not in the file or a number that nobody knows.
    """
    if number is not None and number not in NUMBERS:
        raise unknown_name("number", number, NUMBERS, where="--number")
    scenario, plan, prediction = plan_file.scenario, plan_file.plan, plan_file.prediction
    case = Case(scenario, plan, prediction)
    asked = NUMBERS.values() if number is None else (NUMBERS[number],)
    return Explanation(
        rank=plan_file.chosen_rank,
        label=plan.label(),
        plan=plan,
        limits=_limits(scenario, prediction),
        decisions=decision_reasons(scenario, plan, prediction),
        numbers=tuple(_explained(each, case) for each in asked),
        assumptions=prediction.step.assumptions + prediction.campaign.assumptions,
        against=None
        if against is None
        else _difference(plan_file, plan_file.ranked(against, where="--against")),
    )


def _explained(number: Number, case: Case) -> ExplainedNumber:
    value, interval = number.value(case), number.interval(case)
    between = "" if interval is None else format_range(*interval.ends, number.form)
    inputs = number.inputs(case)
    if interval is not None:
        inputs.append(Input("90 %", between, number.interval_source))
    return ExplainedNumber(
        name=number.name,
        value="unknown" if value is None else number.form(value),
        interval=between,
        formula=number.formula,
        computed_by=place_of(number.computed_by),
        meaning=number.meaning,
        inputs=tuple(
            ExplainedInput(name=each.name, value=each.value, source=each.source) for each in inputs
        ),
    )


def _limits(scenario: Scenario, prediction: Prediction) -> tuple[str, ...]:
    """Say what memory, time and failures leave no more room in."""
    step, campaign = prediction.step, prediction.campaign
    fullest = max(step.memory, key=lambda stage: stage.total_bytes)
    most, most_bytes = max(fullest.parts(), key=lambda part: part[1])
    margin = memory_margin(scenario)
    kept_bytes = margin * step.memory_capacity_bytes
    sentences = [
        f"memory: stage {fullest.stage} holds {format_bytes(fullest.total_bytes)} of "
        f"{format_bytes(step.memory_capacity_bytes)}, most of it {most} "
        f"({format_bytes(most_bytes)}); {format_bytes(step.memory_margin_bytes - kept_bytes)} left "
        f"above the margin of {format_bytes(kept_bytes)} ({format_share(margin)}); "
        f"{step.fit_in_words}"
    ]
    parts = sorted(step.breakdown.parts(), key=lambda part: -part[1])
    named = [f"{PART_NAMES[name]} {100 * s / step.step_s:.0f} %" for name, s in parts if s > 0]
    sentences.append("time: " + ", ".join(named[: _LARGEST_PARTS + 2]))
    losses = sorted(campaign.losses.items(), key=lambda loss: -loss[1])
    named = [f"{name.replace('_', ' ')} {100 * share:.1f} %" for name, share in losses]
    if losses:
        sentences.append("campaign: lost to " + ", ".join(named[:_LARGEST_PARTS]))
    return tuple(sentences + _odds(scenario, prediction))


def _odds(scenario: Scenario, prediction: Prediction) -> list[str]:
    """Say how likely the plan is to meet the deadline and the budget."""
    campaign, goal = prediction.campaign, scenario.goal
    odds = Odds.of(goal, prediction)
    sentences = []
    if goal.finish_within is not None and odds.deadline is not None:
        spare_s = goal.finish_within - campaign.calendar_s
        sentences.append(f"deadline: {format_seconds(spare_s)} to spare; {_met(odds.deadline)}")
    if goal.budget is not None and odds.budget is not None and campaign.cost_usd is not None:
        left = format_usd(goal.budget - campaign.cost_usd)
        sentences.append(f"budget: {left} to spare; {_met(odds.budget)}")
    return sentences


def _met(odds: float) -> str:
    return f"met with a probability of {format_probability(odds)}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _difference(this: PlanFile, other: RankedPlan) -> Difference:
    mine, theirs = this.prediction.step, other.prediction.step
    decisions = [
        f"{name} {_shown(value)} instead of {_shown(getattr(other.plan, name))}"
        for name, value in this.plan
        if value != getattr(other.plan, name)
    ]
    parts = [
        ChangedPart(name=name, this_s=seconds, other_s=base)
        for (name, seconds), (_, base) in zip(
            mine.breakdown.parts(), theirs.breakdown.parts(), strict=True
        )
        if seconds != base
    ]
    return Difference(
        other=other.plan.label(),
        decisions=tuple(decisions),
        step_s=(mine.step_s, theirs.step_s),
        parts=tuple(sorted(parts, key=lambda part: -abs(part.this_s - part.other_s))),
        peak_memory_bytes=(mine.peak_memory_bytes, theirs.peak_memory_bytes),
    )
