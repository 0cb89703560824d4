"""`armillary list`: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    kind: Annotated[
        str | None,
        typer.Argument(help="devices, models, fabrics, software, failures, prices, ..."),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them, with all its sources.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what can be named in a scenario, with key numbers; every number with its source.

    armillary list

    armillary list devices

    armillary list devices h100-sxm-80gb
    """
    import json

    from armillary.listings import LISTINGS, as_data, listing_of
    from armillary.screens.list import kinds_screen, thing_screen, things_screen

    if kind is None:
        kinds = {each: listing.what for each, listing in LISTINGS.items()}
        typer.echo(json.dumps({"version": 1, "kinds": kinds}) if as_json else kinds_screen())
        return
    listing = listing_of(kind)
    things = listing.things() if name is None else {name: listing.thing(name)}
    if as_json:
        items = [{"name": each} | as_data(thing) for each, thing in things.items()]
        typer.echo(json.dumps({"version": 1, "kind": kind, "items": items}))
    elif name is None:
        typer.echo(things_screen(listing, things))
    else:
        typer.echo(thing_screen(name, things[name]))
