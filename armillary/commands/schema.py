"""`armillary schema`: the JSON Schema of what one writes."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    kind: Annotated[str, typer.Argument(help="scenario, plan or cluster.")] = "scenario",
    as_json: Annotated[
        bool, typer.Option("--json", help="It is JSON with or without this flag.")
    ] = False,
) -> None:
    """Print the JSON Schema of a scenario, a plan or a cluster file, for editors.

    armillary schema > scenario.schema.json
    """
    import json

    from simulator.catalog.schema import SCHEMAS
    from simulator.spec.errors import unknown_name

    del as_json
    if kind not in SCHEMAS:
        raise unknown_name("schema", kind, SCHEMAS)
    typer.echo(json.dumps(SCHEMAS[kind](), indent=2))
