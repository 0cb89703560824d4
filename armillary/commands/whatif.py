"""`armillary whatif`: plan again with other values."""

from __future__ import annotations

import sys
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
            help="Values for a field, also 1T..4T/4; all combinations of several are planned.",
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
    each: Annotated[
        bool, typer.Option("--each", help="Change one field at a time; the picture is a tornado.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=-1, help="Processes; -1 is one a core.")] = 1,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="local, dask or dask=tcp://HOST:PORT.")
    ] = "local",
    cache: Annotated[
        Path | None,
        options.filled("Folder of answers; those that are there are not computed again."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Plan a scenario for several values of its fields.

    armillary whatif scenarios/llama3-70b-on-64-h100.yaml --set cluster.nodes=4,8,16
    """
    from armillary.question import question
    from armillary.screens.whatif import whatif_screen
    from armillary.table_file import write_table
    from armillary.tornado_figure import tornado_figure
    from armillary.whatif_figure import whatif_figure
    from planner.parallel import Workers
    from planner.whatif import AnswerCache, Grid, whatif
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
    grid = Grid.of(changes or (), one_at_a_time=each)
    base = replace(asked, overrides=grid.settled).scenario()
    answer = whatif(
        lambda some: replace(asked, overrides=some).scenario(),
        grid,
        workers=Workers.of(backend, jobs),
        cache=None if cache is None else AnswerCache(cache),
        progress=_tell,
    )
    if table is not None:
        write_table(table, answer.to_frame())
    if picture is not None:
        form = picture_form(picture)
        figure = tornado_figure if each else whatif_figure
        write_atomic(picture, figure(answer, title=base.name, form=form))
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
        return
    written = tuple(path for path in (table, picture) if path is not None)
    typer.echo(whatif_screen(answer, question=question(base), written=written))


def _tell(done: int, all_: int) -> None:
    """Say how far it is, where somebody watches."""
    if sys.stderr.isatty():
        typer.echo(f"\r{done:,} of {all_:,} planned", err=True, nl=done == all_)
