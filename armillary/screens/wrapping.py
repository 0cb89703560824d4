"""How long sentences become lines of a screen."""

from __future__ import annotations

import textwrap

WIDTH = 80


def wrapped(text: str, width: int = WIDTH, *, first: str = "", rest: str = "") -> list[str]:
    """Return the lines of a text; names, paths and plans are not torn apart at their hyphens."""
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )
