"""What `armillary simulate` prints: the step in parts, memory per stage, the campaign."""

from __future__ import annotations

from pathlib import Path

from armillary.question import question
from armillary.screens.basis import BASIS
from armillary.screens.table import text_table
from armillary.screens.wrapping import wrapped
from armillary.simulation import Simulation
from simulator.spec.kernel_table import KernelLookups
from simulator.spec.links import LevelName
from simulator.spec.prediction import (
    AxisLinks,
    CampaignPrediction,
    Interval,
    MemoryBreakdown,
    Prediction,
    StepPrediction,
)
from simulator.spec.units import (
    Format,
    format_bytes,
    format_count,
    format_energy,
    format_range,
    format_seconds,
    format_usd,
)

BLOCKS: dict[LevelName, str] = {
    "scale-up": "devices of a domain",
    "scale-out": "domains",
    "pods": "pods",
    "regions": "regions",
}
"""What the links of a level join."""
MAX_SHAPES = 6
"""Kernel shapes shown of those that were not measured."""
MAX_STAGES = 8
"""More pipeline stages than this are shown by the fullest, the emptiest, first and last."""
_GIB = 2.0**30
_SHORT = {
    "activations": "act.",
    "buffers": "buf.",
    "communicators": "comm.",
    "fragmentation": "frag.",
    "framework": "fixed",
    "gradients": "grad.",
    "optimizer": "opt.",
}


def simulate_screen(simulation: Simulation, *, written: tuple[Path, ...] = ()) -> str:
    """Return the screen; `written` are files that were made on the way."""
    step, campaign = simulation.prediction.step, simulation.prediction.campaign
    lines = [
        *wrapped(question(simulation.scenario)),
        *wrapped(f"plan {simulation.plan.label()}; {BASIS[step.basis]}"),
        "",
        *_step(step),
        *_links(step.links),
        *_kernels(step.kernels),
        "",
        *_memory(step),
        "",
        *_campaign(simulation.prediction),
        "",
        "assumed",
        *_bullets(step.assumptions + campaign.assumptions),
    ]
    lines += [f"saved: {path}" for path in written]
    return "\n".join(lines)


def _step(step: StepPrediction) -> list[str]:
    between = format_range(*step.interval_step_s.ends, format_seconds)
    head = (
        f"step {format_seconds(step.step_s)} (90 %: {between}) by {step.engine}, "
        f"MFU {step.mfu:.1%}, {format_count(step.tokens_per_s)} tokens/s"
    )
    rows = [
        [f"  {name}", format_seconds(seconds), f"{seconds / step.step_s:.1%}", _bar(seconds, step)]
        for name, seconds in step.breakdown.parts()
        if seconds > 0
    ]
    return [head, *text_table(["  part", "time", "share", ""], rows)]


def _links(axes: tuple[AxisLinks, ...]) -> list[str]:
    """What the groups of every axis join, innermost first."""
    if not axes:
        return []
    joined = [
        f"{axis.axis} "
        + " x ".join(f"{count} {BLOCKS[level]}" for level, count in axis.blocks.items())
        for axis in axes
    ]
    return wrapped("links: " + ", ".join(joined), rest="  ")


def _kernels(lookups: KernelLookups | None) -> list[str]:
    """How many kernels were measured, and some that were not."""
    if lookups is None:
        return []
    head = f"kernels: {lookups.n_measured} of {lookups.n_shapes} shapes are in {lookups.table}"
    if not lookups.missed:
        return ["", *wrapped(head)]
    more = len(lookups.missed) - MAX_SHAPES
    shown = [f"  {shape}" for shape in lookups.missed[:MAX_SHAPES]]
    return [
        "",
        *wrapped(f"{head}; estimated from the nearest ones, or modelled:"),
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
    fullest = max(step.memory, key=lambda stage: stage.total_bytes)
    stage = f" (of stage {fullest.stage})" if len(step.memory) > 1 else ""
    verdict = f"{format_bytes(margin)} free" if margin >= 0 else f"{format_bytes(-margin)} TOO MUCH"
    head = (
        f"memory: the fullest rank{stage} holds {format_bytes(step.peak_memory_bytes)} of "
        f"{format_bytes(capacity)}, {verdict}; {step.fit_in_words}"
    )
    if len(shown) < len(step.memory):
        head += f" (GiB; {len(shown)} of {len(step.memory)} stages shown)"
    else:
        head += " (GiB)"
    return [
        *wrapped(head),
        *text_table(["  stage", "all", *(_SHORT.get(name, name) for name in parts)], rows),
    ]


def _shown_stages(stages: tuple[MemoryBreakdown, ...]) -> list[MemoryBreakdown]:
    if len(stages) <= MAX_STAGES:
        return list(stages)
    by_size = sorted(stages, key=lambda stage: stage.total_bytes)
    chosen = {stages[0].stage, stages[-1].stage, by_size[0].stage, by_size[-1].stage}
    return [stage for stage in stages if stage.stage in chosen]


def _campaign(prediction: Prediction) -> list[str]:
    campaign, joint = prediction.campaign, prediction.intervals
    head = f"campaign: {campaign.n_steps:,} steps by {campaign.engine}"
    if campaign.n_replicas:
        head += f", {campaign.n_replicas:,} simulated"
    rows = [
        [f"  {name}", form(value), _between(campaign, field, form), _range(joint.get(field), form)]
        for field, name, form in _QUANTITIES
        if (value := getattr(campaign, field)) is not None
    ]
    losses = sorted(campaign.losses.items(), key=lambda item: -item[1])
    rows += [
        [f"  - {name.replace('_', ' ')}", _share(share), _between(campaign, name, _share), ""]
        for name, share in losses
        if share >= 0.0005
    ]
    header = ["", "mean", "90 % by chance alone", "90 % with the step's"]
    return [
        head,
        *text_table(header, rows),
        *_sentences(_causes(campaign)),
        *_checkpoints(campaign),
        *_sentences(_input(campaign)),
    ]


def _sentences(sentences: list[str]) -> list[str]:
    return [line for sentence in sentences for line in wrapped(sentence, rest="  ")]


def _between(campaign: CampaignPrediction, name: str, form: Format) -> str:
    """Return the range of 90 % of single campaigns at one step time."""
    interval = campaign.intervals.get(name.removeprefix("expected_"))
    return _range(campaign.goodput_interval if name == "goodput" else interval, form)


def _range(interval: Interval | None, form: Format) -> str:
    return "" if interval is None else format_range(*interval.ends, form)


def _causes(campaign: CampaignPrediction) -> list[str]:
    most = [f"{name} {_count(count)}" for name, count in list(campaign.failures.items())[:4]]
    return [f"failures, most by {', '.join(most)}"] if len(most) > 1 else []


def _checkpoints(campaign: CampaignPrediction) -> list[str]:
    """Say how often is saved, where to, and what for."""
    if len(campaign.checkpoints) < 2:
        return wrapped(
            f"a checkpoint every {format_seconds(campaign.checkpoint_interval_s)} stops training "
            f"for {format_seconds(campaign.checkpoint_stall_s)}",
            rest="  ",
        )
    rows = [
        [
            f"  {use.name}",
            use.survives,
            format_seconds(use.interval_s),
            format_seconds(use.stall_s),
            format_seconds(use.stall_s + use.persist_s),
            format_seconds(use.load_s) if use.load_s else "",
            "never" if use.read_every_s is None else f"every {format_seconds(use.read_every_s)}",
        ]
        for use in campaign.checkpoints
    ]
    header = ["checkpoints", "survive", "every", "stop for", "safe after", "load", "read"]
    return text_table(header, rows)


def _input(campaign: CampaignPrediction) -> list[str]:
    needs = campaign.input_needs
    if needs is None:
        return []
    return [
        f"data: a step waits {format_seconds(needs.stall_s)} for its batch; slowest is "
        f"{needs.limited_by}, {needs.n_epochs:.3g} passes over the dataset",
        f"to keep up: {format_bytes(needs.storage_bytes)} of storage that gives "
        f"{format_bytes(needs.store_bytes_per_s)}/s, {format_bytes(needs.node_bytes_per_s)}/s into "
        f"every host, {needs.reader_hosts:,} reader hosts beside the training nodes",
    ]


def _count(mean: float, *, like: float | None = None) -> str:
    return format_count(mean, like=like) if (like or mean) >= 100 else f"{mean:.3g}"


def _share(share: float, *, like: float | None = None) -> str:  # noqa: ARG001  # one unit
    return f"{100 * share:.1f} %"


def _tonnes(mass_kg: float, *, like: float | None = None) -> str:
    return f"{_count(mass_kg / 1000, like=like and like / 1000)} t"


_QUANTITIES: tuple[tuple[str, str, Format], ...] = (
    ("calendar_s", "time", format_seconds),
    ("device_hours", "device-hours", _count),
    ("cost_usd", "cost", format_usd),
    ("energy_j", "energy", format_energy),
    ("co2_kg", "CO2", _tonnes),
    ("expected_failures", "failures", _count),
    ("goodput", "goodput", _share),
)


def _bullets(sentences: tuple[str, ...]) -> list[str]:
    return [
        line
        for sentence in dict.fromkeys(sentences)
        for line in wrapped(sentence, first="  ", rest="    ")
    ]
