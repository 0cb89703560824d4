"""`armillary list`: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

from armillary import options


def command(
    kind: Annotated[
        str | None,
        typer.Argument(help="devices, models, fabrics, software, failures, prices, ..."),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them, with all its sources.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what can be named in a scenario, with key numbers; every number with its source.

    armillary list

    armillary list devices

    armillary list devices h100-sxm-80gb
    """
    from armillary.listings import listed
    from armillary.screens.list import kinds_screen, thing_screen, things_screen

    found = listed(kind, name)
    if as_json:
        from armillary.answers import ListAnswer

        typer.echo(ListAnswer.of(found).model_dump_json(indent=2))
    elif kind is None:
        typer.echo(kinds_screen())
    elif name is None:
        typer.echo(things_screen(found.listing, found.things))
    else:
        typer.echo(thing_screen(name, found.things[name]))
