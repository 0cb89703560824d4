"""Fills the template of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from armillary.question import question
from armillary.report.figures import (
    comparison_figure,
    inline_svg,
    memory_figure,
    steps_figure,
)
from armillary.screens.basis import BASIS
from planner.decisions import decisions_in_words
from runtime.compare import Comparison, Quantity
from simulator.campaign.campaign_run import CampaignRun
from simulator.spec.files import write_atomic
from simulator.spec.plan_file import PlanFile, RankedPlan
from simulator.spec.prediction import CampaignPrediction, Prediction
from simulator.spec.units import (
    format_bytes,
    format_count,
    format_energy,
    format_flops,
    format_range,
    format_seconds,
    format_usd,
)

FOLDER = Path(__file__).parent

MAX_CAUSES = 12
"""More causes of failure than this are not listed."""

NOT_MODELLED = (
    "congestion between jobs that share the network, and routing inside switches",
    "thermal throttling and power capping of single devices, beyond the average that the "
    "efficiencies contain",
    "cache effects and kernel selection per shape, beyond what was measured or fitted",
    "loss spikes and changes of the recipe during the run",
)
"""What a reader should not expect the numbers to contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a page tells."""

    plan_file: PlanFile
    timeline_svg: bytes | None = None
    """Picture of one step by events."""
    memory_svg: bytes | None = None
    """Picture of what the ranks hold over that step."""
    progress_svg: bytes | None = None
    """Picture of one campaign by events."""
    comparison: Comparison | None = None
    """The run beside its prediction."""

    @classmethod
    def of(
        cls,
        plan_file: PlanFile,
        *,
        campaign_run: CampaignRun | None = None,
        comparison: Comparison | None = None,
    ) -> Report:
        """Return the report of a plan, with the time lines of its step and of one campaign."""
        from simulator.campaign.progress_figure import progress_figure
        from simulator.step.memory_figure import memory_track_figure
        from simulator.step.predict import traced_memory, traced_step
        from simulator.step.timeline_figure import timeline_figure

        spans = traced_step(plan_file.scenario, plan_file.plan)
        picture = timeline_figure(spans, title=plan_file.plan.label())
        tracks = traced_memory(plan_file.scenario, plan_file.plan, spans)
        capacity_bytes = plan_file.prediction.step.memory_capacity_bytes
        progress = None
        if campaign_run is not None:
            n_steps = plan_file.prediction.campaign.n_steps
            progress = progress_figure(campaign_run, n_steps=n_steps, title="")
        return cls(
            plan_file=plan_file,
            timeline_svg=picture,
            memory_svg=memory_track_figure(tracks, capacity_bytes=capacity_bytes),
            progress_svg=progress,
            comparison=comparison,
        )


@dataclass(frozen=True, slots=True)
class _Card:
    """One number at the top of the page."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of predicted against measured."""

    name: str
    predicted: str
    measured: str
    error: str
    is_part: bool = False
    """Whether it is a part of what stands above it."""


def write_report(path: str | Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    write_atomic(path, render(report))


def render(report: Report) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan_file = report.plan_file
    scenario, step = plan_file.scenario, plan_file.prediction.step
    campaign = plan_file.prediction.campaign
    plans = plan_file.alternatives or (
        RankedPlan(rank=1, plan=plan_file.plan, prediction=plan_file.prediction),
    )
    return environment.get_template("template.html.j2").render(
        title=scenario.name,
        question=question(scenario),
        plan=plan_file.plan.label(),
        basis=BASIS[step.basis],
        decisions=", ".join(decisions_in_words(plan_file.plan)),
        cards=_cards(plan_file.prediction),
        plans=plans,
        chosen=plan_file.plan,
        step_figure=steps_figure(plans),
        memory_figure=memory_figure(step.memory, step.memory_capacity_bytes),
        n_stages=len(step.memory),
        timeline=None if report.timeline_svg is None else inline_svg(report.timeline_svg),
        memory_timeline=None if report.memory_svg is None else inline_svg(report.memory_svg),
        comparison=report.comparison,
        comparison_rows=() if report.comparison is None else _rows(report.comparison),
        comparison_figure=(
            None if report.comparison is None else comparison_figure(report.comparison)
        ),
        progress=None if report.progress_svg is None else inline_svg(report.progress_svg),
        losses=_visible_losses(campaign),
        campaign=campaign,
        failures=list(campaign.failures.items())[:MAX_CAUSES],
        needs=campaign.input_needs,
        assumptions=(*step.assumptions, *campaign.assumptions),
        not_modelled=NOT_MODELLED,
        provenance=plan_file.provenance,
        style=Markup((FOLDER / "style.css").read_text()),
        data=_json_for_html(plan_file, report.comparison),
        **FORMATS,
    )


FORMATS = {
    "seconds": format_seconds,
    "size": format_bytes,
    "count": format_count,
    "usd": format_usd,
    "percent": lambda share: f"{100 * share:.1f} %",
}
"""What the template prints numbers with."""


def _cards(prediction: Prediction) -> tuple[_Card, ...]:
    step, campaign, intervals = prediction.step, prediction.campaign, prediction.intervals
    cards = [
        _Card(
            "one step",
            format_seconds(step.step_s),
            f"{format_range(*step.interval_step_s.ends, format_seconds)} (90 %)",
        ),
        _Card("tokens per second", format_count(step.tokens_per_s), _rate_detail(prediction)),
        _Card(
            "peak memory",
            format_bytes(step.peak_memory_bytes),
            f"{format_bytes(step.memory_margin_bytes)} free of "
            f"{format_bytes(step.memory_capacity_bytes)}; {step.fit_in_words}",
        ),
        _Card(
            "whole training",
            format_seconds(campaign.calendar_s),
            f"{format_range(*intervals['calendar_s'].ends, format_seconds)} (90 %); "
            f"{campaign.n_steps:,} steps, goodput {100 * campaign.goodput:.1f} %, "
            f"{campaign.expected_failures:,.0f} failures",
        ),
    ]
    if campaign.cost_usd is not None:
        cards.append(
            _Card(
                "cost",
                format_usd(campaign.cost_usd),
                f"{format_range(*intervals['cost_usd'].ends, format_usd)} (90 %); "
                f"{format_count(campaign.device_hours)} device-hours",
            )
        )
    if campaign.energy_j is not None:
        co2 = "" if campaign.co2_kg is None else f"; {format_count(campaign.co2_kg / 1000)} t CO₂"
        between = format_range(*intervals["energy_j"].ends, format_energy)
        cards.append(_Card("energy", format_energy(campaign.energy_j), f"{between} (90 %){co2}"))
    return tuple(cards)


def _visible_losses(campaign: CampaignPrediction) -> list[tuple[str, float]]:
    """Return the classes of loss that do not print as zero, the largest first."""
    visible = [(name, share) for name, share in campaign.losses.items() if share >= 0.0005]
    return sorted(visible, key=lambda item: -item[1])


def _rate_detail(prediction: Prediction) -> str:
    step = prediction.step
    return f"MFU {100 * step.mfu:.1f} %, {format_flops(step.model_flops_per_device_per_s)} a device"


def _rows(comparison: Comparison) -> tuple[_Row, ...]:
    goodput = comparison.goodput
    return (
        _row("step", comparison.step_s, format_seconds),
        *(
            _row(
                part.name,
                Quantity(predicted=part.predicted_s, measured=part.measured_s),
                format_seconds,
                is_part=True,
            )
            for part in comparison.parts
        ),
        _row("tokens per second", comparison.tokens_per_s, format_count),
        _row("peak memory of a rank", comparison.peak_memory_bytes, format_bytes),
        _share_row("goodput", goodput.predicted, goodput.measured, is_part=False),
        *(
            _share_row(
                f"lost: {loss.name.replace('_', ' ')}", loss.predicted, loss.measured, is_part=True
            )
            for loss in comparison.losses
        ),
    )


def _row(name: str, pair: Quantity, form: Callable[[float], str], *, is_part: bool = False) -> _Row:
    error = f"{100 * pair.error:+.1f} %"
    return _Row(name, form(pair.predicted), form(pair.measured), error, is_part)


def _share_row(name: str, predicted: float, measured: float, *, is_part: bool) -> _Row:
    """Return the line of a share of the run's time; shares differ by points."""
    points = f"{100 * (predicted - measured):+.1f} points"
    return _Row(name, f"{100 * predicted:.1f} %", f"{100 * measured:.1f} %", points, is_part)


def _json_for_html(plan_file: PlanFile, comparison: Comparison | None) -> Markup:
    """Return everything on the page as JSON that cannot end the element it stands in."""
    value = {
        "plan_file": plan_file.model_dump(mode="json"),
        "comparison": None if comparison is None else comparison.model_dump(mode="json"),
    }
    text = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
