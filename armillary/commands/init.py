"""`armillary init`: a scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[
        Path | None, typer.Argument(help="File to write; without it the scenario is printed.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Catalog name, or path to a config.json.")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Device and count, as h100-sxm:64.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Start a scenario: every field, commented, with a schema for editors beside it.

    armillary init my-scenario.yaml
    """
    import json

    from simulator.catalog.template import SCHEMA_NAME, scenario_template, write_scenario

    text = scenario_template(model=model, cluster=cluster)
    if file is None:
        typer.echo(json.dumps({"version": 1, "scenario": text}) if as_json else text, nl=as_json)
        return
    write_scenario(file, text)
    if as_json:
        typer.echo(json.dumps({"version": 1, "file": str(file), "schema": SCHEMA_NAME}))
        return
    typer.echo(f"saved: {file}, {file.with_name(SCHEMA_NAME)} (completion in editors)")
    typer.echo(f"next:  armillary check {file}")
