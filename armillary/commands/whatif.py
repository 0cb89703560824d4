"""`armillary whatif`: plan again with other values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from armillary import options


def command(
    scenario: options.ScenarioFile = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=A,B,C",
            help="Values for a field; all combinations of several --set are planned.",
        ),
    ] = None,
    model: options.Model = None,
    cluster: options.Cluster = None,
    tokens: options.Tokens = None,
    sequence_length: options.SequenceLength = None,
    batch: options.Batch = None,
    precision: options.PrecisionName = None,
    minimize: options.Minimize = None,
    finish_within: options.FinishWithin = None,
    budget: options.Budget = None,
    target: options.TargetName = None,
    table: options.TableFile = None,
    picture: Annotated[Path | None, options.drawn("Draw time and cost")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Plan a scenario for several values of its fields.

    armillary whatif scenarios/llama3-70b-on-64-h100.yaml --set cluster.nodes=4,8,16
    """
    from armillary.question import question
    from armillary.screens.whatif import whatif_screen
    from armillary.table_file import write_table
    from armillary.whatif_figure import whatif_figure
    from planner.whatif import Grid, whatif
    from simulator.spec.files import write_atomic
    from simulator.spec.picture import picture_form

    asked = options.Asked(
        file=scenario,
        model=model,
        cluster=cluster,
        tokens=tokens,
        sequence_length=sequence_length,
        batch=batch,
        precision=precision,
        minimize=minimize,
        finish_within=finish_within,
        budget=budget,
        target=target,
    )
    grid = Grid.of(changes or ())
    base = replace(asked, overrides=grid.settled).scenario()
    answer = whatif(lambda some: replace(asked, overrides=some).scenario(), grid)
    if table is not None:
        write_table(table, answer.to_frame())
    if picture is not None:
        form = picture_form(picture)
        write_atomic(picture, whatif_figure(answer, title=base.name, form=form))
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
        return
    written = tuple(path for path in (table, picture) if path is not None)
    typer.echo(whatif_screen(answer, question=question(base), written=written))
