"""Predicted against measured step time, by source."""

from __future__ import annotations

from simulator.spec.picture import PictureForm, picture
from simulator.validate import Validation
from simulator.validate.judge import PROPERTIES
from simulator.validate.scores import by_property


def validation_figure(found: Validation, form: PictureForm) -> bytes:
    """Return the picture as an SVG or PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.add_subplot()
    timed = [each for each in found.outcomes if each.step_ratio is not None]
    for source, outcomes in by_property(timed, PROPERTIES["source"]).items():
        measured = [each.row.step_s or 0.0 for each in outcomes]
        ratios = [each.step_ratio or 0.0 for each in outcomes]
        axes.scatter(measured, ratios, s=9, label=source)
    for ratio, style in ((1.0, "-"), (0.9, ":"), (1.1, ":")):
        axes.axhline(ratio, color="black", linewidth=0.8, linestyle=style)
    axes.set(
        xscale="log", yscale="log", xlabel="measured step time, s", ylabel="predicted / measured"
    )
    ticks = [0.5, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(fontsize="small", frameon=False)
    return picture(figure, form)
