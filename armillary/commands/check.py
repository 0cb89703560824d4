"""`armillary check`: whether a file is valid, and what it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options


def command(
    file: Annotated[
        Path, typer.Argument(metavar="SCENARIO|PLAN", help="A scenario (YAML) or a plan.json.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field of a scenario. Repeatable."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Say whether a scenario or a plan is valid, and what it asks; else every mistake in it."""
    from armillary.answers import CheckAnswer
    from armillary.checking import check
    from armillary.screens.check import check_screen
    from simulator.spec.errors import InputError

    try:
        checked = check(file, overrides=tuple(overrides or ()))
    except InputError as error:
        if not as_json:
            raise
        mistakes = tuple(str(each) for each in getattr(error, "errors", (error,)))
        typer.echo(CheckAnswer(valid=False, mistakes=mistakes).model_dump_json(indent=2))
        raise typer.Exit(error.exit_code) from None
    if as_json:
        answer = CheckAnswer(valid=True, scenario=checked.scenario, plan=checked.plan)
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(check_screen(checked.scenario, checked.plan))
