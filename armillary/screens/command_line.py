"""A command to paste, folded as a shell reads it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from armillary.screens.wrapping import WIDTH


def folded(words: Sequence[str], *, indent: str) -> str:
    """Return a command in lines of at most `WIDTH` where its words allow."""
    lines = [indent]
    for at, word in enumerate(map(shlex.quote, words)):
        if at and len(lines[-1]) + len(word) + len(" \\") > WIDTH:
            lines.append(" " * len(indent))
        lines[-1] += word + " "
    return "\\\n".join(lines).rstrip()
