"""The picture of memory over a step: one line per pipeline rank, the fullest one on top."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.spec.colours import SKY_BLUE, VERMILION
from simulator.spec.picture import PictureForm, picture
from simulator.step.memory_track import MemoryTrack, fullest
from simulator.step.timeline_figure import UNITS

MAX_LINES = 16
"""More pipeline ranks than this are thinned out evenly; the fullest one always stays."""
MAX_CHANGES = 100
"""Of a line in one panel; a step of more is drawn where it begins and where it ends."""
GIB = 2.0**30
FULLEST, OTHERS, LIMIT = VERMILION, SKY_BLUE, "#333333"


def memory_track_figure(
    tracks: Sequence[MemoryTrack],
    *,
    capacity_bytes: float,
    title: str = "",
    form: PictureForm = "svg",
) -> bytes:
    """Return memory over time as an SVG or PNG file, with the peak and what the device has."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    top = fullest(tracks)
    end_s = max(track.times_s[-1] for track in tracks)
    unit, scale = next(((name, size) for name, size in UNITS if end_s * size >= 1.0), UNITS[-1])
    windows = _windows(top, end_s)
    with rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        panels = figure.subplots(1, len(windows), sharey=True, squeeze=False)[0]
        for axes, (first_s, last_s) in zip(panels, windows, strict=True):
            for track in (*_shown(tracks, top), top):
                axes.step(
                    [time_s * scale for time_s in (*track.times_s, end_s)],
                    [held / GIB for held in (*track.held_bytes, track.held_bytes[-1])],
                    where="post",
                    color=FULLEST if track is top else OTHERS,
                    linewidth=1.6 if track is top else 0.8,
                    label=f"stage {top.rank}, the fullest" if track is top else None,
                )
            axes.axhline(capacity_bytes / GIB, color=LIMIT, linestyle="--", linewidth=1.0)
            axes.set_xlim(first_s * scale, last_s * scale or 1.0)
            axes.set_xlabel(f"time ({unit})")
            axes.spines[["top", "right"]].set_visible(False)
        begin, end = panels[0], panels[-1]
        begin.plot(top.peak_s * scale, top.peak_bytes / GIB, "o", color=FULLEST, markersize=5)
        begin.annotate("the device has", (0.0, capacity_bytes / GIB), va="bottom", fontsize=8)
        begin.set_ylim(0.0, 1.12 * max(capacity_bytes, top.peak_bytes) / GIB)
        begin.set_ylabel("GiB")
        figure.suptitle(title, x=0.01, ha="left")
        if len(windows) > 1:
            end.set_title("the end; in between it goes on as on the left", loc="right", fontsize=8)
        end.legend(frameon=False, fontsize=8, loc="lower right")
        return picture(figure, form)


def _windows(top: MemoryTrack, end_s: float) -> list[tuple[float, float]]:
    """Return what is drawn: the whole step, or its begin and its end where that is too much."""
    if len(top.times_s) <= 2 * MAX_CHANGES:
        return [(0.0, end_s)]
    window_s = max(top.times_s[MAX_CHANGES], 1.1 * top.peak_s)
    return (
        [(0.0, window_s), (end_s - window_s, end_s)] if 4.0 * window_s < end_s else [(0.0, end_s)]
    )


def _shown(tracks: Sequence[MemoryTrack], top: MemoryTrack) -> list[MemoryTrack]:
    others = [track for track in tracks if track is not top]
    every = max(1, -(-len(others) // MAX_LINES))
    return others[::every]
