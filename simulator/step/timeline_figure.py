"""The picture of a step: one lane per pipeline rank, coloured by what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.spec.picture import PictureForm, picture
from simulator.step.spans import Span, SpanKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILLS: dict[SpanKind, str] = {
    "forward": "#56b4e9",
    "backward": "#e69f00",
    "backward-weight": "#f0e442",
    "gather": "#009e73",
    "reduce": "#cc79a7",
    "optimizer": "#0072b2",
    "other": "#999999",
}
"""Okabe and Ito's palette, which colour-blind readers can tell apart ("Color Universal Design")."""

LABELS: dict[SpanKind, str] = {
    "forward": "forward",
    "backward": "backward",
    "backward-weight": "weight gradients",
    "gather": "gather weights",
    "reduce": "reduce gradients",
    "optimizer": "optimizer",
    "other": "constant",
}

MAX_LANES = 16
"""More pipeline ranks than this are thinned out evenly, first and last kept."""
MAX_LABELLED_PASSES = 56
"""Microbatch numbers are written into passes when a lane has at most this many."""
MAX_VECTOR_SPANS = 4000
"""More bars than this are drawn as an image inside the SVG."""

COMPUTE, COLLECTIVES = (0.30, 0.50), (0.06, 0.20)
"""Where in a lane of height 1 the bars begin, and how high they are."""


def timeline_figure(spans: Sequence[Span], *, title: str, form: PictureForm = "svg") -> bytes:
    """Return the picture of a step as an SVG or PNG file.

    Compute is the upper part of a lane, collectives beside it the lower one; what stays empty is
    idle. Later chunks of a rank are paler.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    lanes = {rank: [span for span in spans if span.rank == rank] for rank in _lane_ranks(spans)}
    end_s = max(span.end_s for span in spans)
    unit, scale = next(((name, size) for name, size in UNITS if end_s * size >= 1.0), UNITS[-1])
    with rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 1.3 + 0.42 * len(lanes)), layout="constrained")
        axes = figure.add_subplot()
        for height, lane in enumerate(lanes.values()):
            _draw_lane(axes, lane, -height, scale, raster=len(spans) > MAX_VECTOR_SPANS)
        axes.set_yticks(
            [0.5 - height for height in range(len(lanes))],
            [
                f"stage {rank}  ({_idle_share(lane, end_s):.0%} idle)"
                for rank, lane in lanes.items()
            ],
        )
        axes.set_xlim(0.0, end_s * scale)
        axes.set_ylim(1.0 - len(lanes), 1.0)
        several = len({(span.rank, span.chunk) for span in spans if span.microbatch >= 0}) > len(
            {span.rank for span in spans}
        )
        axes.set_xlabel(f"time ({unit})" + "; paler: later chunks of a stage" * several)
        axes.set_title(title, loc="left")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        _draw_legend(figure, spans)
        return picture(figure, form)


UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))


def _lane_ranks(spans: Sequence[Span]) -> list[int]:
    """Return the ranks that are drawn: all, or MAX_LANES of them spread evenly."""
    ranks = sorted({span.rank for span in spans})
    if len(ranks) <= MAX_LANES:
        return ranks
    step = (len(ranks) - 1) / (MAX_LANES - 1)
    return [ranks[round(i * step)] for i in range(MAX_LANES)]


def _idle_share(lane: Sequence[Span], end_s: float) -> float:
    busy_s = sum(span.end_s - span.start_s for span in lane if span.track == "compute")
    return max(0.0, 1.0 - busy_s / end_s)


def _draw_lane(
    axes: Axes, lane: Sequence[Span], height: float, scale: float, *, raster: bool
) -> None:
    chunks = sorted({span.chunk for span in lane if span.track == "compute" and span.chunk >= 0})
    paleness = {chunk: 0.65 * i / max(1, len(chunks) - 1) for i, chunk in enumerate(chunks)}
    for track, (bottom, thickness) in (("compute", COMPUTE), ("collectives", COLLECTIVES)):
        bars = [span for span in lane if span.track == track]
        pale = paleness if track == "compute" else {}
        axes.broken_barh(
            [(span.start_s * scale, (span.end_s - span.start_s) * scale) for span in bars],
            (height + bottom, thickness),
            facecolors=[_mix(FILLS[span.kind], pale.get(span.chunk, 0.0)) for span in bars],
            edgecolor="white",
            linewidth=0.4 if track == "compute" and not raster else 0.0,
            rasterized=raster,
        )
    passes = [span for span in lane if span.track == "compute" and span.microbatch >= 0]
    if len(passes) <= MAX_LABELLED_PASSES:
        for span in passes:
            axes.text(
                (span.start_s + span.end_s) / 2 * scale,
                height + COMPUTE[0] + COMPUTE[1] / 2,
                str(span.microbatch),
                ha="center",
                va="center",
                fontsize=6,
            )


def _mix(colour: str, paleness: float) -> tuple[float, float, float]:
    """Return a colour moved towards white."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return (
        red + (1 - red) * paleness,
        green + (1 - green) * paleness,
        blue + (1 - blue) * paleness,
    )


def _draw_legend(figure: Figure, spans: Sequence[Span]) -> None:
    from matplotlib.patches import Patch

    present = {span.kind for span in spans}
    figure.legend(
        handles=[
            Patch(facecolor=colour, label=LABELS[kind])
            for kind, colour in FILLS.items()
            if kind in present
        ],
        loc="outside lower center",
        ncols=len(FILLS),
        frameon=False,
        fontsize=8,
    )
