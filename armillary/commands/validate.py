"""`armillary validate`: predictions against measured runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options


def command(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CSV]...", help="Measured runs; without, the published ones."),
    ] = None,
    anchor: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Calibrate every source from N of its rows; score the rest."
        ),
    ] = 0,
    leave_one_out: Annotated[
        bool,
        typer.Option(help="Predict each published source by constants fitted without it."),
    ] = False,
    as_json: options.AsJson = False,
    markdown: Annotated[
        Path | None, options.written("Write the scores as a Markdown page.")
    ] = None,
    picture: Annotated[Path | None, options.drawn("Draw predicted against measured")] = None,
) -> None:
    """Predict runs that were measured, and say how right that is.

    armillary validate

    armillary validate --leave-one-out

    armillary validate my_runs.csv --anchor 1 --json
    """
    from armillary.screens.validate import validation_markdown, validation_screen
    from armillary.validation import ValidationAnswer
    from simulator.spec.files import write_atomic
    from simulator.spec.picture import picture_form
    from simulator.validate import PUBLISHED, validate

    found = validate(
        tuple(tables) if tables else PUBLISHED, n_anchors=anchor, left_out=leave_one_out
    )
    if markdown is not None:
        write_atomic(markdown, validation_markdown(found))
    if picture is not None:
        from armillary.validation_figure import validation_figure

        write_atomic(picture, validation_figure(found, picture_form(picture)))
    if as_json:
        typer.echo(ValidationAnswer.of(found).model_dump_json(indent=2))
    else:
        typer.echo(validation_screen(found))
