"""The picture of a front: cost, energy and memory of its plans over the time that they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from planner.result import Front, PredictionSummary
from simulator.spec.colours import LINES
from simulator.spec.picture import PictureForm, picture
from simulator.spec.units import DAY_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS: tuple[tuple[str, Callable[[PredictionSummary], float | None]], ...] = (
    ("cost (M$)", lambda one: None if one.cost_usd is None else one.cost_usd / 1e6),
    ("energy (MWh)", lambda one: None if one.energy_j is None else one.energy_j / 3.6e9),
    ("memory of the fullest rank (GiB)", lambda one: one.peak_memory_bytes / 2**30),
)


def pareto_figure(front: Front, *, title: str, form: PictureForm) -> bytes:
    """Return a panel per criterion that is known, a colour per number of devices."""
    from matplotlib.figure import Figure

    known = [each for each in _PANELS if each[1](front.plans[0].prediction) is not None]
    figure = Figure(figsize=(3.6 * len(known), 3.4), layout="constrained")
    panels = figure.subplots(1, len(known), squeeze=False)[0]
    for axes, (label, value) in zip(panels, known, strict=True):
        _draw(axes, front, label, value)
    panels[0].legend(fontsize=7, title="devices", title_fontsize=7)
    figure.suptitle(title, fontsize=10)
    return picture(figure, form)


def _draw(
    axes: Axes, front: Front, label: str, value: Callable[[PredictionSummary], float | None]
) -> None:
    counts = sorted({one.n_devices for one in front.plans}, reverse=True)
    for at, count in enumerate(counts):
        plans = [one.prediction for one in front.plans if one.n_devices == count]
        axes.plot(
            [one.calendar_s / DAY_S for one in plans],
            [value(one) or 0.0 for one in plans],
            "o-",
            markersize=4,
            linewidth=0.8,
            color=LINES[at % len(LINES)],
            label=f"{count:,}",
        )
    axes.set_xlabel("time (days)")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
