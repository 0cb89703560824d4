"""`armillary explain`: say why a plan is what it is."""

from __future__ import annotations

from typing import Annotated

import typer

from armillary import options
from armillary.output_folder import DEFAULT_PLAN


def command(
    plan: Annotated[
        str, typer.Argument(metavar="[PLAN]", help="A plan file, or the rank of a plan in it.")
    ] = DEFAULT_PLAN,
    rank: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which of its ranked plans.")
    ] = None,
    against: Annotated[
        int | None, typer.Option(metavar="M", help="Compare with ranked plan M.")
    ] = None,
    number: Annotated[
        str | None, typer.Option(help="One number in full, as step_s: inputs and sources.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what limits a plan, and where each of its numbers comes from.

    armillary explain 2 --against 1

    armillary explain --number peak_memory_bytes
    """
    from armillary.choice import chosen_plan
    from armillary.screens.explain import explain_screen
    from planner.explain import explain

    explanation = explain(chosen_plan(plan, rank), against=against, number=number)
    typer.echo(explanation.model_dump_json(indent=2) if as_json else explain_screen(explanation))
