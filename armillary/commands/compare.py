"""`armillary compare`: predicted beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")],
    as_json: options.AsJson = False,
) -> None:
    """Set predicted beside measured, part by part, and say what to change."""
    from armillary.screens.compare import compare_screen
    from runtime.compare import compare

    comparison = compare(run_dir)
    typer.echo(comparison.model_dump_json(indent=2) if as_json else compare_screen(comparison))
