"""The picture of memory over a step: one line per pipeline rank, the fullest one on top."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.spec.picture import PictureForm, picture
from simulator.step.memory_track import MemoryTrack, fullest
from simulator.step.timeline_figure import UNITS

MAX_LINES = 16
"""More pipeline ranks than this are thinned out evenly; the fullest one always stays."""
GIB = 2.0**30
FULLEST, OTHERS, LIMIT = "#d55e00", "#56b4e9", "#333333"


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
    with rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        axes = figure.add_subplot()
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
        axes.annotate("the device has", (0.0, capacity_bytes / GIB), va="bottom", fontsize=8)
        axes.plot(top.peak_s * scale, top.peak_bytes / GIB, "o", color=FULLEST, markersize=5)
        axes.set_xlim(0.0, end_s * scale or 1.0)
        axes.set_ylim(0.0, 1.12 * max(capacity_bytes, top.peak_bytes) / GIB)
        axes.set_xlabel(f"time ({unit})")
        axes.set_ylabel("GiB")
        axes.set_title(title, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        return picture(figure, form)


def _shown(tracks: Sequence[MemoryTrack], top: MemoryTrack) -> list[MemoryTrack]:
    others = [track for track in tracks if track is not top]
    every = max(1, -(-len(others) // MAX_LINES))
    return others[::every]
