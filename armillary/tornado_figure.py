"""The picture of a what-if that changes one field at a time: which one moves time and cost most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.whatif import WhatIf, WhatIfCase
from simulator.spec.colours import SKY_BLUE, VERMILION
from simulator.spec.picture import PictureForm, picture
from simulator.spec.units import DAY_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = (("calendar_s", "time (days)", DAY_S), ("cost_usd", "cost (M$)", 1e6))

Point = tuple[float, str]
"""What comes of a value, and the value; empty for the scenario as it is."""


def tornado_figure(answer: WhatIf, *, title: str, form: PictureForm) -> bytes:
    """Return a bar per field from the least to the greatest that its values lead to."""
    from matplotlib.figure import Figure

    known = [each for each in _PANELS if any(_value(case, each[0]) for case in answer.cases)]
    height = 1.2 + 0.45 * len(answer.keys)
    figure = Figure(figsize=(1.6 + 3.8 * len(known), height), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        _draw(axes, answer, *panel)
    figure.suptitle(title, fontsize=10)
    return picture(figure, form)


def _draw(axes: Axes, answer: WhatIf, field: str, label: str, scale: float) -> None:
    base = _value(answer.cases[0], field)
    bars = sorted(_bars(answer, field), key=lambda bar: bar[2][0] - bar[1][0])
    for at, (_, low, high) in enumerate(bars):
        width = (high[0] - low[0]) / scale
        axes.barh(at, width, left=low[0] / scale, height=0.6, color=SKY_BLUE)
        for (amount, value), side in ((low, "right"), (high, "left")):
            if width > 0:
                axes.text(amount / scale, at, f" {value} ", ha=side, va="center", fontsize=7)
    axes.set_yticks(range(len(bars)), [key.rpartition(".")[2] for key, _, _ in bars], fontsize=8)
    if base is not None:
        axes.axvline(base / scale, color=VERMILION, linewidth=1, label="as it is")
        axes.legend(fontsize=7, loc="lower right")
    axes.use_sticky_edges = False
    axes.margins(x=0.15)
    axes.set_xlabel(label)


def _bars(answer: WhatIf, field: str) -> list[tuple[str, Point, Point]]:
    """Return every field with the least and the greatest that it leads to."""
    bars = []
    for at, key in enumerate(answer.keys):
        own = [case for case in answer.cases if case.values[at] or not any(case.values)]
        points = [
            (amount, case.values[at]) for case in own if (amount := _value(case, field)) is not None
        ]
        if points:
            bars.append((key, min(points), max(points)))
    return bars


def _value(case: WhatIfCase, field: str) -> float | None:
    return None if case.prediction is None else getattr(case.prediction, field)
