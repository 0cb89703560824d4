"""`armillary whatif`: plan again with other values."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from planner.whatif import WhatIf

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=A,B,C",
        help="Values for a field, also 1T..4T/4; all combinations of several are planned.",
    ),
]
Picture = Annotated[Path | None, options.drawn("Draw time and cost")]
Each = Annotated[
    bool, typer.Option("--each", help="Change one field at a time; the picture is a tornado.")
]
Jobs = Annotated[int, typer.Option(min=-1, help="Processes; -1 is one a core.")]
Backend = Annotated[str, typer.Option(metavar="NAME", help="local, dask or dask=tcp://HOST:PORT.")]
Cache = Annotated[
    Path | None,
    options.filled("Folder of answers; those that are there are not computed again."),
]


def command(
    scenario: options.ScenarioFile = None,
    changes: Changes = None,
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
    picture: Picture = None,
    each: Each = False,
    jobs: Jobs = 1,
    backend: Backend = "local",
    cache: Cache = None,
    as_json: options.AsJson = False,
) -> None:
    """Plan a scenario for several values of its fields.

    armillary whatif scenarios/llama3-70b-on-64-h100.yaml --set cluster.nodes=4,8,16
    """
    from armillary.question import question
    from armillary.screens.whatif import whatif_screen
    from planner.parallel import Workers
    from planner.whatif import AnswerCache, Grid, whatif

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
    written = _write(answer, base.name, table=table, picture=picture)
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(whatif_screen(answer, question=question(base), written=written))


def _write(
    answer: WhatIf, title: str, *, table: Path | None, picture: Path | None
) -> tuple[Path, ...]:
    """Write the files that are asked for, and return their paths."""
    from armillary.table_file import write_table
    from armillary.tornado_figure import tornado_figure
    from armillary.whatif_figure import whatif_figure
    from simulator.spec.files import write_atomic
    from simulator.spec.picture import picture_form

    if table is not None:
        write_table(table, answer.to_frame())
    if picture is not None:
        figure = tornado_figure if answer.one_at_a_time else whatif_figure
        write_atomic(picture, figure(answer, title=title, form=picture_form(picture)))
    return tuple(path for path in (table, picture) if path is not None)


def _tell(done: int, all_: int) -> None:
    """Say how far it is, where somebody watches."""
    if sys.stderr.isatty():
        typer.echo(f"\r{done:,} of {all_:,} planned", err=True, nl=done == all_)
