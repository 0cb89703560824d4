"""The picture of a step: one lane per pipeline rank, coloured by what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW
from simulator.spec.picture import PictureForm, picture
from simulator.step.spans import Span, SpanKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILLS: dict[SpanKind, str] = {
    "forward": SKY_BLUE,
    "backward": ORANGE,
    "backward-weight": YELLOW,
    "exchange": VERMILION,
    "p2p": "#000000",
    "gather": GREEN,
    "reduce": PURPLE,
    "optimizer": BLUE,
    "input": "#5b3a8c",
    "other": "#999999",
}

LABELS: dict[SpanKind, str] = {
    "forward": "forward",
    "backward": "backward",
    "backward-weight": "weight gradients",
    "exchange": "tp, cp, ep exchanges",
    "p2p": "between stages",
    "gather": "gather weights",
    "reduce": "reduce gradients",
    "optimizer": "optimizer",
    "input": "waiting for data",
    "other": "other",
}

MAX_LANES = 16
"""More pipeline ranks than this are thinned out evenly, first and last kept."""
MAX_LABELLED_PASSES = 56
"""Microbatch numbers are written into passes when a lane has at most this many."""
MAX_VECTOR_SPANS = 4000
"""More bars than this are drawn as an image inside the SVG."""

DETAIL_PASSES, DETAIL_LANES = 40, 6
"""Where passes are too many to be told apart, so many of them are drawn again, on so many lanes."""

STRIPS = {
    "compute": (0.28, 0.50),
    "exchanges": (0.28, 0.12),
    "collectives": (0.08, 0.16),
    "links": (0.82, 0.08),
}
"""Where in a lane of height 1 the bars begin, and how high they are."""


def timeline_figure(spans: Sequence[Span], *, title: str, form: PictureForm = "svg") -> bytes:
    """Return the picture of a step as an SVG or PNG file.

    Compute is the middle of a lane, with the exchanges of a pass at its foot; collectives beside it
    are below, transfers to other stages above, and what stays empty is idle. Later chunks of a rank
    are paler. Where passes are too many to be told apart, some from the middle are drawn again.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [_Panel.whole(spans), *_Panel.details(spans)]
    with rc_context({"font.size": 9}):
        heights = [0.42 * len(panel.lanes) for panel in panels]
        size = (10, 0.9 + sum(heights) + 0.4 * len(panels))
        figure = Figure(figsize=size, layout="constrained")
        drawn = figure.subplots(len(panels), height_ratios=heights, squeeze=False)[:, 0]
        for axes, panel in zip(drawn, panels, strict=True):
            panel.draw(axes)
        drawn[0].set_title(title, loc="left")
        several = len({(span.rank, span.chunk) for span in spans if span.microbatch >= 0}) > len(
            {span.rank for span in spans}
        )
        drawn[-1].set_xlabel(drawn[-1].get_xlabel() + "; paler: later chunks of a stage" * several)
        _draw_legend(figure, spans)
        return picture(figure, form)


UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))


@dataclass(frozen=True, slots=True)
class _Panel:
    """Some lanes over some time."""

    lanes: Mapping[int, Sequence[Span]]
    labels: Sequence[str]
    start_s: float
    end_s: float
    raster: bool

    @classmethod
    def whole(cls, spans: Sequence[Span]) -> _Panel:
        """All of the step."""
        end_s = max(span.end_s for span in spans)
        lanes = _lanes(spans, MAX_LANES)
        return cls(
            lanes,
            [f"stage {r}  ({_idle_share(lane, end_s):.0%} idle)" for r, lane in lanes.items()],
            0.0,
            end_s,
            len(spans) > MAX_VECTOR_SPANS,
        )

    @classmethod
    def details(cls, spans: Sequence[Span]) -> list[_Panel]:
        """What the first stage does in the middle of the step, if that cannot be seen."""
        lanes = _lanes(spans, DETAIL_LANES)
        passes = sorted(
            (span.start_s, span.end_s) for span in next(iter(lanes.values())) if _is_pass(span)
        )
        first = (len(passes) - DETAIL_PASSES) // 2
        if len(passes) <= 5 * DETAIL_PASSES:
            return []
        start_s, end_s = passes[first][0], passes[first + DETAIL_PASSES - 1][1]
        seen = {
            rank: [span for span in lane if span.end_s > start_s and span.start_s < end_s]
            for rank, lane in lanes.items()
        }
        return [cls(seen, [f"stage {rank}" for rank in seen], start_s, end_s, raster=False)]

    def draw(self, axes: Axes) -> None:
        """Draw all lanes, the first one on top."""
        unit, scale = next(
            ((name, size) for name, size in UNITS if self.end_s * size >= 1.0), UNITS[-1]
        )
        for height, lane in enumerate(self.lanes.values()):
            _draw_lane(axes, lane, -height, scale, raster=self.raster)
        axes.set_yticks([0.5 - height for height in range(len(self.lanes))], self.labels)
        axes.set_xlim(self.start_s * scale, self.end_s * scale)
        axes.set_ylim(1.0 - len(self.lanes), 1.0)
        axes.set_xlabel(f"time ({unit})" + ", a part of the above" * (self.start_s > 0.0))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)


def _lanes(spans: Sequence[Span], most: int) -> dict[int, list[Span]]:
    """Return the spans of the ranks that are drawn: all, or so many of them spread evenly."""
    lanes: dict[int, list[Span]] = {rank: [] for rank in sorted({span.rank for span in spans})}
    for span in spans:
        lanes[span.rank].append(span)
    if len(lanes) <= most:
        return lanes
    ranks, step = list(lanes), (len(lanes) - 1) / (most - 1)
    return {ranks[round(i * step)]: lanes[ranks[round(i * step)]] for i in range(most)}


def _is_pass(span: Span) -> bool:
    return span.track == "compute" and span.microbatch >= 0


def _idle_share(lane: Sequence[Span], end_s: float) -> float:
    busy_s = sum(span.end_s - span.start_s for span in lane if span.track == "compute")
    return max(0.0, 1.0 - busy_s / end_s)


def _draw_lane(
    axes: Axes, lane: Sequence[Span], height: float, scale: float, *, raster: bool
) -> None:
    chunks = sorted({span.chunk for span in lane if _is_pass(span)})
    paleness = {chunk: 0.65 * i / max(1, len(chunks) - 1) for i, chunk in enumerate(chunks)}
    strips: dict[str, list[Span]] = {"compute": [], "exchanges": [], "collectives": [], "links": []}
    for span in lane:
        strips[span.track if span.track in strips else "links"].append(span)
    for strip, bars in strips.items():
        bottom, thickness = STRIPS[strip]
        pale = paleness if strip == "compute" else {}
        axes.broken_barh(
            [(span.start_s * scale, (span.end_s - span.start_s) * scale) for span in bars],
            (height + bottom, thickness),
            facecolors=[_mix(FILLS[span.kind], pale.get(span.chunk, 0.0)) for span in bars],
            edgecolor="white",
            linewidth=0.4 if strip == "compute" and not raster else 0.0,
            rasterized=raster,
            snap=False,
        )
    passes = [span for span in strips["compute"] if _is_pass(span)]
    if len(passes) <= MAX_LABELLED_PASSES:
        bottom, thickness = STRIPS["compute"]
        for span in passes:
            axes.text(
                (span.start_s + span.end_s) / 2 * scale,
                height + bottom + thickness / 2,
                str(span.microbatch),
                ha="center",
                va="center",
                fontsize=6,
                clip_on=True,
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
        ncols=(len(FILLS) + 1) // 2,
        frameon=False,
        fontsize=8,
    )
