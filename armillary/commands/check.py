"""`armillary check`: whether a file is valid, and what it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[
        Path, typer.Argument(metavar="SCENARIO|PLAN", help="A scenario (YAML) or a plan.json.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field of a scenario. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a scenario or a plan is valid, and what it asks; else every mistake in it."""
    import json

    from armillary.checking import check
    from armillary.screens.check import check_screen
    from simulator.spec.errors import InputError

    try:
        scenario, plan = check(file, overrides=tuple(overrides or ()))
    except InputError as error:
        if not as_json:
            raise
        mistakes = [str(each) for each in getattr(error, "errors", (error,))]
        typer.echo(json.dumps({"version": 1, "valid": False, "mistakes": mistakes}))
        raise typer.Exit(error.exit_code) from None
    if not as_json:
        typer.echo(check_screen(scenario, plan))
        return
    answer = {"version": 1, "valid": True, "scenario": scenario.model_dump(mode="json")}
    if plan is not None:
        answer["plan"] = plan.model_dump(mode="json")
    typer.echo(json.dumps(answer))
