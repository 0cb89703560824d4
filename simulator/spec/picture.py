"""Pictures as files: the same figure is the same file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simulator.spec.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PictureForm = Literal["svg", "png"]
FORMS: dict[str, PictureForm] = {".svg": "svg", ".png": "png"}
_DPI = 150


def is_picture(path: Path) -> bool:
    """Return whether a file name asks for a picture."""
    return path.suffix in FORMS


def picture_form(path: Path, *, where: str | None = None) -> PictureForm:
    """Return the kind of picture that a file name asks for. Raises InputError for others."""
    if not is_picture(path):
        raise InputError(f"{path} is neither .svg nor .png", where=where)
    return FORMS[path.suffix]


def picture(figure: Figure, form: PictureForm, *, transparent: bool = False) -> bytes:
    """Return a figure as a file: without a date, and with ids that do not change."""
    from matplotlib import rc_context

    content = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else {}
    with rc_context({"svg.hashsalt": "armillary"}):
        figure.savefig(content, format=form, dpi=_DPI, transparent=transparent, metadata=metadata)
    return content.getvalue()
