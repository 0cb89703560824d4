"""The picture of a what-if: time over the first changed field, a line per further combination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.whatif import WhatIf
from simulator.spec.colours import LINES
from simulator.spec.picture import PictureForm, picture
from simulator.spec.units import DAY_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def whatif_figure(answer: WhatIf, *, title: str, form: PictureForm) -> bytes:
    """Return days and, where a price is known, dollars of every case as an SVG or PNG file."""
    from matplotlib.figure import Figure

    priced = any(case.prediction and case.prediction.cost_usd for case in answer.cases)
    figure = Figure(figsize=(4.5 * (1 + priced), 3.4), layout="constrained")
    axes = figure.subplots(1, 1 + priced, squeeze=False)[0]
    _draw(axes[0], answer, "calendar_s", "time (days)", DAY_S)
    if priced:
        _draw(axes[1], answer, "cost_usd", "cost (M$)", 1e6)
    figure.suptitle(title, fontsize=10)
    if len(answer.keys) > 1:
        axes[0].legend(fontsize=7)
    return picture(figure, form)


def _draw(axes: Axes, answer: WhatIf, field: str, label: str, scale: float) -> None:
    first, *others = answer.keys
    ticks = list(dict.fromkeys(case.values[0] for case in answer.cases))
    groups = list(dict.fromkeys(case.values[1:] for case in answer.cases))
    for at, group in enumerate(groups):
        points = [
            (ticks.index(case.values[0]), getattr(case.prediction, field) / scale)
            for case in answer.cases
            if case.values[1:] == group and case.prediction and getattr(case.prediction, field)
        ]
        name = ", ".join(
            f"{key.rpartition('.')[2]} {value}" for key, value in zip(others, group, strict=True)
        )
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker="o",
            color=LINES[at % len(LINES)],
            label=name,
        )
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel(first)
    axes.set_ylabel(label)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
