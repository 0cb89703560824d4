"""The parts of a step as one bar of characters."""

from __future__ import annotations

from simulator.spec.prediction import StepBreakdown

_MARKS = {
    "forward": "#",
    "backward": "=",
    "recompute": "r",
    "tp": "t",
    "cp": "c",
    "ep": "e",
    "pp": "p",
    "dp": "d",
    "bubble": ".",
    "optimizer": "o",
    "input": "i",
    "other": "-",
}


def step_bar(breakdown: StepBreakdown, *, width: int) -> tuple[str, tuple[str, ...]]:
    """Return the bar and its legend; parts that round to nothing are left out of both.

    The lengths are rounded so that they add up to the width.
    """
    total_s = breakdown.total_s
    bar, done_s = "", 0.0
    legend = []
    for name, seconds in breakdown.parts():
        done_s += seconds
        bar = bar.ljust(round(width * done_s / total_s), _MARKS[name])
        if seconds >= 0.005 * total_s:
            legend.append(f"{_MARKS[name]} {name} {100 * seconds / total_s:.0f}%")
    return bar, tuple(legend)
