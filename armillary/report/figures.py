"""Pictures of the report, as SVG that takes its text colour from the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from runtime.compare import Comparison
from simulator.spec.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW
from simulator.spec.picture import picture
from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import MemoryBreakdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PLANS = 8
"""Plans whose steps are drawn beside each other."""
MAX_STAGES = 16
GIB = 2.0**30
SMALL_SHARE = 0.002
"""Parts below this share of the longest bar are left out of picture and legend."""

STEP_COLOURS = {
    "forward": SKY_BLUE,
    "backward": ORANGE,
    "recompute": YELLOW,
    "tp": VERMILION,
    "cp": "#b07aa1",
    "ep": "#8c6d31",
    "pp": "#7570b3",
    "dp": PURPLE,
    "bubble": "#c9c9c9",
    "optimizer": BLUE,
    "input": GREEN,
    "other": "#8c8c8c",
}
MEMORY_COLOURS = {
    "weights": BLUE,
    "gradients": SKY_BLUE,
    "optimizer": GREEN,
    "activations": ORANGE,
    "logits": "#f0c94a",
    "buffers": PURPLE,
    "fragmentation": "#c9c9c9",
    "communicators": VERMILION,
    "framework": "#8c8c8c",
}
PREDICTED, MEASURED = SKY_BLUE, ORANGE


def steps_figure(plans: Sequence[RankedPlan]) -> Markup:
    """Draw where the time of a step goes, one bar per plan, the best on top."""
    shown = plans[:MAX_PLANS]
    rows = [
        (f"#{ranked.rank}  {ranked.plan.label()}", ranked.prediction.step.breakdown.parts())
        for ranked in shown
    ]
    return _bars(rows, STEP_COLOURS, "seconds of one step")


def memory_figure(stages: Sequence[MemoryBreakdown], capacity_bytes: float) -> Markup:
    """Draw what the fullest rank of every stage holds, and the memory there is."""
    rows = [
        (
            f"stage {stage.stage}",
            tuple((name, size / GIB) for name, size in stage.parts()),
        )
        for stage in _thinned(stages)
    ]
    return _bars(rows, MEMORY_COLOURS, "GiB of the fullest rank", limit=capacity_bytes / GIB)


def comparison_figure(comparison: Comparison) -> Markup:
    """Draw every part of the step twice: predicted and measured."""
    figure = _new_figure(len(comparison.parts) + 1.2)
    axes = figure.add_subplot()
    for at, part in enumerate(comparison.parts):
        axes.barh(at - 0.19, part.predicted_s, height=0.36, color=PREDICTED)
        axes.barh(at + 0.19, part.measured_s, height=0.36, color=MEASURED)
    _finish(axes, [part.name for part in comparison.parts], "seconds")
    _legend(figure, {"predicted": PREDICTED, "measured": MEASURED})
    return _svg(figure)


def _thinned(stages: Sequence[MemoryBreakdown]) -> list[MemoryBreakdown]:
    """Return all stages, or MAX_STAGES of them spread evenly, first and last kept."""
    if len(stages) <= MAX_STAGES:
        return list(stages)
    step = (len(stages) - 1) / (MAX_STAGES - 1)
    return [stages[round(i * step)] for i in range(MAX_STAGES)]


def _bars(
    rows: Sequence[tuple[str, tuple[tuple[str, float], ...]]],
    colours: dict[str, str],
    unit: str,
    *,
    limit: float | None = None,
) -> Markup:
    figure = _new_figure(len(rows))
    axes = figure.add_subplot()
    longest = max(sum(value for _, value in parts) for _, parts in rows)
    present: set[str] = set()
    for at, (_, parts) in enumerate(rows):
        left = 0.0
        for name, value in parts:
            if value > SMALL_SHARE * longest:
                axes.barh(at, value, left=left, height=0.62, color=colours[name])
                present.add(name)
            left += value
    if limit is not None:
        axes.axvline(limit, color="#d62728", linewidth=1.4, linestyle=(0, (4, 2)))
        axes.set_xlim(0, max(limit, longest) * 1.04)
    _finish(axes, [label for label, _ in rows], unit)
    _legend(figure, {name: colour for name, colour in colours.items() if name in present})
    return _svg(figure)


def _new_figure(n_rows: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(9.0, 1.15 + 0.36 * n_rows), layout="constrained")


def _finish(axes: Axes, labels: Sequence[str], unit: str) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _legend(figure: Figure, colours: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[Patch(facecolor=colour, label=name) for name, colour in colours.items()],
        loc="outside lower center",
        ncols=min(len(colours), 8),
        frameon=False,
        fontsize=8,
    )


def _svg(figure: Figure) -> Markup:
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "path", "font.size": 9}):
        return inline_svg(picture(figure, "svg", transparent=True))


def inline_svg(document: bytes) -> Markup:
    """Return an SVG file as an element of a page whose text colour and background it takes.

    Matplotlib leaves out what is black, which then inherits the page's colour; black lines are
    written out and are replaced. Element ids keep apart because every picture has its own salt.
    """
    text = document.decode()
    text = text[text.index("<svg") :]
    start, end = text.find("<metadata>"), text.find("</metadata>")
    if start >= 0:
        text = text[:start] + text[end + len("</metadata>") :]
    for colour, replacement in (
        ("stroke: #000000", "stroke: currentColor"),
        ("fill: #ffffff", "fill: none"),
        ("stroke: #ffffff", "stroke: var(--paper)"),
    ):
        text = text.replace(colour, replacement)
    return Markup(text)
