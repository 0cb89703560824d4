"""What `armillary import` prints."""

from __future__ import annotations

import shlex
from pathlib import Path

from armillary.screens.explain import against_lines
from armillary.screens.wrapping import wrapped
from planner.explain import Explanation
from planner.imports import Imported


def import_screen(imported: Imported, explanation: Explanation, place: Path) -> str:
    """Return the plan that was read, what limits it, and how it differs from the best one."""
    rank = explanation.rank
    lines = [f"your plan: {explanation.label}" + (f", plan {rank} here" if rank else "")]
    for sentence in explanation.limits:
        lines += _wrapped(sentence)
    if explanation.against is not None and rank != 1:
        lines += ["", *against_lines(explanation.against)]
    if imported.unread:
        names = ", ".join(imported.unread)
        lines += ["", "not read, because no plan decides it", *_wrapped(names)]
    words = shlex.join(["armillary", "explain", str(place), "--against", "1"])
    return "\n".join([*lines, "", f"saved: {place}", f"next:  {words}"])


def _wrapped(text: str) -> list[str]:
    return wrapped(text, first="  ", rest="    ")
