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


def step_bar(breakdown: StepBreakdown, *, width: int, legend_width: int) -> tuple[str, str]:
    """Return the bar and its legend; parts that round to nothing are left out of both.

    The lengths are rounded so that they add up to the width. Where the legend would be longer
    than its width, the smallest parts are counted with the others.
    """
    parts = dict(breakdown.parts())
    while len(legend := _legend(parts)) > legend_width:
        smallest = min((name for name in parts if name != "other"), key=parts.__getitem__)
        parts["other"] += parts.pop(smallest)
    bar, done_s, total_s = "", 0.0, breakdown.total_s
    for name, seconds in parts.items():
        done_s += seconds
        bar = bar.ljust(round(width * done_s / total_s), _MARKS[name])
    return bar, legend


def _legend(parts: dict[str, float]) -> str:
    total_s = sum(parts.values())
    return "  ".join(
        f"{_MARKS[name]} {name} {seconds / total_s:.0%}"
        for name, seconds in parts.items()
        if seconds >= 0.005 * total_s
    )
