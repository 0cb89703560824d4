"""`armillary init`: a scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options


def command(
    file: Annotated[
        Path | None, typer.Argument(help="File to write; without it the scenario is printed.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Catalog name, or path to a config.json.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Device and count, as h100-sxm:64.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Start a scenario: every field, commented, with a schema for editors beside it.

    armillary init my-scenario.yaml
    """
    from armillary.answers import InitAnswer
    from simulator.catalog.template import scenario_template, write_scenario

    text = scenario_template(model=model, cluster=cluster)
    if file is not None:
        write_scenario(file, text)
    if as_json:
        answer = InitAnswer(scenario=text, file=None if file is None else str(file))
        typer.echo(answer.model_dump_json(indent=2))
    elif file is None:
        typer.echo(text, nl=False)
    else:
        _say_what_next(file)


def _say_what_next(file: Path) -> None:
    from simulator.catalog.template import SCHEMA_NAME

    typer.echo(f"saved: {file}, {file.with_name(SCHEMA_NAME)} (completion in editors)")
    typer.echo(f"next:  armillary check {file}")
