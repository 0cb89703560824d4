"""`armillary schema`: JSON Schemas of what one writes and of what verbs answer."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    kind: Annotated[
        str, typer.Argument(help="scenario, plan or cluster; or VERB-answer: its --json.")
    ] = "scenario",
    as_json: Annotated[
        bool, typer.Option("--json", help="It is JSON with or without this flag.")
    ] = False,
) -> None:
    """Print the JSON Schema of a file that one writes, for editors, or of a verb's answer.

    armillary schema > scenario.schema.json

    armillary schema plan-answer
    """
    import json

    from armillary.schemas import schema_of

    del as_json
    typer.echo(json.dumps(schema_of(kind), indent=2))
