"""What `armillary simulate` prints: the step in parts, memory per stage, the campaign."""

from __future__ import annotations

import textwrap
from pathlib import Path

from armillary.question import question
from armillary.screens.basis import BASIS
from armillary.screens.table import text_table
from armillary.simulation import Simulation
from simulator.spec.kernel_table import KernelLookups
from simulator.spec.prediction import CampaignPrediction, MemoryBreakdown, StepPrediction
from simulator.spec.units import (
    format_bytes,
    format_count,
    format_energy,
    format_seconds,
    format_usd,
)

WIDTH = 80
MAX_SHAPES = 6
"""Kernel shapes shown of those that were not measured."""
MAX_STAGES = 8
"""More pipeline stages than this are shown by the fullest, the emptiest, first and last."""
_GIB = 2.0**30
_SHORT = {
    "activations": "act.",
    "framework": "fixed",
    "gradients": "grad.",
    "optimizer": "opt.",
}


def simulate_screen(simulation: Simulation, *, written: tuple[Path, ...] = ()) -> str:
    """Return the screen; `written` are files that were made on the way."""
    step, campaign = simulation.prediction.step, simulation.prediction.campaign
    lines = [
        *textwrap.wrap(question(simulation.scenario), WIDTH),
        f"plan {simulation.plan.label()}; {BASIS[step.basis]}",
        "",
        *_step(step),
        *_kernels(step.kernels),
        "",
        *_memory(step),
        "",
        *_campaign(campaign),
        "",
        "assumed",
        *_bullets(step.assumptions + campaign.assumptions),
    ]
    lines += [f"saved: {path}" for path in written]
    return "\n".join(lines)


def _step(step: StepPrediction) -> list[str]:
    low, high = (format_seconds(s) for s in (step.interval_step_s.low, step.interval_step_s.high))
    head = (
        f"step {format_seconds(step.step_s)} (90 %: {low} to {high}) by {step.engine}, "
        f"MFU {step.mfu:.1%}, {format_count(step.tokens_per_s)} tokens/s"
    )
    rows = [
        [f"  {name}", format_seconds(seconds), f"{seconds / step.step_s:.1%}", _bar(seconds, step)]
        for name, seconds in step.breakdown.parts()
        if seconds > 0
    ]
    return [head, *text_table(["  part", "time", "share", ""], rows)]


def _kernels(lookups: KernelLookups | None) -> list[str]:
    """How many kernels were measured, and some that were not."""
    if lookups is None:
        return []
    head = f"kernels: {lookups.n_measured} of {lookups.n_shapes} shapes are in {lookups.table}"
    if not lookups.missed:
        return ["", *textwrap.wrap(head, WIDTH)]
    more = len(lookups.missed) - MAX_SHAPES
    shown = [f"  {shape}" for shape in lookups.missed[:MAX_SHAPES]]
    return [
        "",
        *textwrap.wrap(f"{head}; estimated from the nearest ones, or modelled:", WIDTH),
        *shown,
        *([f"  and {more} more (--json lists all)"] if more > 0 else []),
    ]


def _bar(seconds: float, step: StepPrediction) -> str:
    return "#" * round(40 * seconds / step.step_s)


def _memory(step: StepPrediction) -> list[str]:
    capacity = step.memory_capacity_bytes
    shown = _shown_stages(step.memory)
    parts = [
        name
        for name, _ in step.memory[0].parts()
        if any(dict(stage.parts())[name] > 0 for stage in step.memory)
    ]
    rows = [
        [
            f"  {stage.stage}",
            f"{stage.total_bytes / _GIB:.2f}",
            *(f"{dict(stage.parts())[name] / _GIB:.2f}" for name in parts),
        ]
        for stage in shown
    ]
    margin = step.memory_margin_bytes
    verdict = f"{format_bytes(margin)} free" if margin >= 0 else f"{format_bytes(-margin)} TOO MUCH"
    head = (
        f"memory: the fullest rank holds {format_bytes(step.peak_memory_bytes)} of "
        f"{format_bytes(capacity)}, {verdict}"
    )
    if len(shown) < len(step.memory):
        head += f" (GiB; {len(shown)} of {len(step.memory)} stages shown)"
    else:
        head += " (GiB)"
    return [
        *textwrap.wrap(head, WIDTH),
        *text_table(["  stage", "all", *(_SHORT.get(name, name) for name in parts)], rows),
    ]


def _shown_stages(stages: tuple[MemoryBreakdown, ...]) -> list[MemoryBreakdown]:
    if len(stages) <= MAX_STAGES:
        return list(stages)
    by_size = sorted(stages, key=lambda stage: stage.total_bytes)
    chosen = {stages[0].stage, stages[-1].stage, by_size[0].stage, by_size[-1].stage}
    return [stage for stage in stages if stage.stage in chosen]


def _campaign(campaign: CampaignPrediction) -> list[str]:
    low, high = campaign.goodput_interval.low, campaign.goodput_interval.high
    money = [
        text
        for value, text in (
            (campaign.cost_usd, format_usd(campaign.cost_usd or 0.0)),
            (campaign.energy_j, format_energy(campaign.energy_j or 0.0)),
            (campaign.co2_kg, f"{_tonnes(campaign.co2_kg or 0.0)} CO2"),
        )
        if value is not None
    ]
    losses = [
        f"{name.replace('_', ' ')} {share:.1%}"
        for name, share in sorted(campaign.losses.items(), key=lambda item: -item[1])
        if share >= 0.0005
    ]
    sentences = [
        f"campaign: {campaign.n_steps:,} steps in {_calendar(campaign)}, "
        f"{format_count(campaign.device_hours)} device-hours"
        + "".join(f", {text}" for text in money),
        f"goodput {campaign.goodput:.1%} (90 %: {low:.1%} to {high:.1%}); lost to "
        + (", ".join(losses) or "nothing"),
        f"{_failures(campaign)}; a checkpoint every "
        f"{format_seconds(campaign.checkpoint_interval_s)} stops training for "
        f"{format_seconds(campaign.checkpoint_stall_s)}",
    ]
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, WIDTH, subsequent_indent="  ")
    ]


def _calendar(campaign: CampaignPrediction) -> str:
    text = format_seconds(campaign.calendar_s)
    if campaign.calendar_interval_s is None:
        return text
    low, high = campaign.calendar_interval_s.low, campaign.calendar_interval_s.high
    return (
        f"{text} (90 %: {format_seconds(low)} to {format_seconds(high)}, "
        f"{campaign.n_replicas} simulated)"
    )


def _failures(campaign: CampaignPrediction) -> str:
    text = f"{_count(campaign.expected_failures)} failures"
    most = [f"{name} {_count(count)}" for name, count in list(campaign.failures.items())[:3]]
    return text + (f", most by {', '.join(most)}" if len(most) > 1 else "")


def _count(mean: float) -> str:
    return f"{mean:,.0f}" if mean >= 100 else f"{mean:.3g}"


def _tonnes(mass_kg: float) -> str:
    tonnes = mass_kg / 1000
    return f"{tonnes:,.0f} t" if tonnes >= 100 else f"{tonnes:.3g} t"


def _bullets(sentences: tuple[str, ...]) -> list[str]:
    return [
        line
        for sentence in dict.fromkeys(sentences)
        for line in textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
    ]
