"""The first screen of `armillary plan`: question, ranked plans, why, and what next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path

from armillary.question import question
from armillary.screens.basis import BASIS
from armillary.screens.step_bar import step_bar
from armillary.screens.wrapping import WIDTH, wrapped
from planner.decisions import decisions_in_words
from planner.export import takers
from planner.objective import achieved
from planner.pricing import memory_margin
from planner.result import Front, PredictionSummary, SearchResult
from simulator.campaign.losses import Loss
from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Minimized
from simulator.spec.target import OWN_TARGET, find_target
from simulator.spec.units import (
    format_bytes,
    format_energy,
    format_probability,
    format_range,
    format_seconds,
    format_share,
    format_usd,
)

_FORMATS: dict[Minimized, Callable[[float], str]] = {
    "time": format_seconds,
    "cost": format_usd,
    "energy": format_energy,
    "carbon": format_energy,
}
_LABEL = 29
_GIB = 2.0**30
_COLUMNS = "{:>2}  {:<29} {:>6} {:>4} {:>5} {:>7} {:>5} {:>6} {:>7}"
_HEAD = (
    _COLUMNS.format("#", "plan", "step", "MFU", "mem.", "(free)", "good-", "days", "cost"),
    _COLUMNS.format("", "  behind #1", "s", "%", "GiB", "GiB", "put %", "", ""),
)


def plan_screen(result: SearchResult, *, top: int, plan_path: Path, scenario_path: Path) -> str:
    """Return the screen; `top` plans of the result are shown."""
    lines = [*wrapped(question(result.scenario)), *_found(result)]
    lines += _table(result, top)
    bar, legend = step_bar(
        result.best.prediction.step.breakdown, width=WIDTH - 12, legend_width=WIDTH - 12
    )
    lines += [f"step of #1: {bar}", f"{'':<12}{legend}", *_failures(result)]
    lines.append(_assumed(result))
    lines += _next(result, plan_path)
    lines.append(f"saved:      {plan_path}, {scenario_path} (to plan again)")
    return "\n".join(lines)


def front_line(front: Front, files: list[Path]) -> str:
    """Return how many plans no other one beats, and where they are."""
    counts = ", ".join(f"{count:,}" for count in front.counts)
    text = f"{len(front.plans)} plans that none beats in time, cost, energy and memory"
    text += f" on {counts} devices: {', '.join(map(str, files))}"
    return "\n".join(wrapped(text, first=f"{'front:':<12}", rest=" " * 12))


def _found(result: SearchResult) -> list[str]:
    capacity = format_bytes(result.best.prediction.step.memory_capacity_bytes)
    margin = memory_margin(result.scenario)
    counts = f"{result.n_plans:,} legal plans in {result.seconds:.1f} s"
    counts += "" if result.complete else " (NOT all were looked at)"
    counts += f": {result.n_priced:,} priced"
    others = result.complete and result.n_priced < result.n_plans
    counts += ", the others proven worse" if others else ""
    fitting = f"{result.n_fitting:,} of them fit in {capacity}"
    fitting += f" less {format_share(margin)}" if margin else ""
    return [counts, f"{fitting}; {BASIS[result.best.prediction.step.basis]}"]


def _table(result: SearchResult, top: int) -> list[str]:
    """Return the best plans, and in place of the last one the fastest step if it is none.

    The first one has its range on its second line, the others why they are behind it.
    """
    fastest = result.fastest
    plans = result.plans[:top]
    if fastest.rank == 0:
        plans = (*result.plans[: max(1, top - 1)], fastest)
    lines = [line.rstrip() for line in _HEAD]
    for ranked in plans:
        label, rest = _split_label(ranked.plan.label())
        lines.append(_COLUMNS.format(ranked.rank or "*", label, *_numbers(ranked)))
        fast = ranked.rank == fastest.rank != 1
        reason = f"the fastest step; {ranked.loses_to}" if fast else ranked.loses_to
        reason = _uncertainty(ranked.prediction) if ranked.rank == 1 else reason
        parts = [part for part in (rest, reason) if part]
        joined = "      " + "  ".join(parts)
        lines += [joined] if parts and len(joined) <= WIDTH else [f"      {part}" for part in parts]
    return lines


def _split_label(label: str) -> tuple[str, str]:
    lines = wrapped(label, _LABEL)
    return lines[0], " ".join(lines[1:])


def _numbers(ranked: RankedPlan) -> tuple[str, ...]:
    summary = PredictionSummary.of(ranked.prediction)
    cost = "-" if summary.cost_usd is None else format_usd(summary.cost_usd).replace(" ", "")
    return (
        _three_digits(summary.step_s),
        f"{100 * summary.mfu:.1f}",
        f"{summary.peak_memory_bytes / _GIB:.1f}",
        f"({summary.memory_margin_bytes / _GIB:.1f})",
        f"{100 * summary.goodput:.1f}",
        _three_digits(summary.calendar_s / 86400),
        cost,
    )


def _uncertainty(prediction: Prediction) -> str:
    """Say between which values 90 % of what may come of a plan lies, as short as a table wants."""
    intervals, step = prediction.intervals, prediction.step
    days = (_three_digits(end / 86400) for end in intervals["calendar_s"].ends)
    parts = ["{}-{} s".format(*map(_three_digits, step.interval_step_s.ends))]
    parts.append("{}-{} d".format(*days))
    if "cost_usd" in intervals:
        parts.append(format_range(*intervals["cost_usd"].ends, format_usd).replace(" to ", "-"))
    fits = format_probability(1 - step.misfit_probability)
    return f"90 %: {', '.join(parts)}; fits: {fits}"


def _failures(result: SearchResult) -> list[str]:
    """Say what the best plan does about failures."""
    decisions = ", ".join(decisions_in_words(result.best.plan))
    idle = result.best.prediction.campaign.losses.get(Loss.IDLE, 0.0)
    if idle >= 0.0005:
        decisions += f"; {idle:.1%} idle"
    lines = [f"{'failures:':<12}{decisions}"] if decisions else []
    return lines + _at_quantile(result)


def _at_quantile(result: SearchResult) -> list[str]:
    """Say what the share of single campaigns that the goal names keeps."""
    goal = result.scenario.goal
    if goal.at_quantile is None:
        return []
    kept = _FORMATS[goal.minimize](achieved(goal, result.best.prediction))
    said = f"{goal.at_quantile:.3g} of single campaigns of #1 keep {kept} at this step time"
    return [f"{'by chance:':<12}{said}"]


def _three_digits(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}"


def _assumed(result: SearchResult) -> str:
    """Say some of what was taken for what was not given, and where all of it stands."""
    prediction = result.best.prediction
    sentences = [*prediction.step.assumptions, *prediction.campaign.assumptions]
    said = "; ".join(sentence.removeprefix("by default: ") for sentence in sentences)
    rest = f" ...; all {len(sentences)}: armillary explain"
    return f"{'assumed:':<12}{textwrap.shorten(said, WIDTH - 12, placeholder=rest)}"


def _next(result: SearchResult, plan_path: Path) -> list[str]:
    """Return commands that work as they stand: for these cores run it, for others hand it on."""
    scenario, place = result.scenario, shlex.quote(str(plan_path))
    commands = [f"armillary explain {place}", f"armillary simulate {place} --trace t.json"]
    own_refusal = find_target(OWN_TARGET).refusal(scenario.model, scenario.job, result.best.plan)
    if own_refusal is None and scenario.cluster.scale_up.topology == "shared-memory":
        commands.append(f"armillary run {place}")
    elif taker := next(takers(result.plan_file()), None):
        commands.append(f"armillary export {place} --to {taker.name}")
    return [f"{'' if at else 'next:':<12}{line}" for at, line in enumerate(commands)]
