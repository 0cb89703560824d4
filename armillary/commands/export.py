"""`armillary export`: put a plan into the words of the framework one has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options
from armillary.output_folder import DEFAULT_FOLDER, OutputFolder


def command(
    plan: Annotated[
        str, typer.Argument(metavar="[PLAN]", help="A plan file, or the rank of a plan in it.")
    ] = str(OutputFolder(DEFAULT_FOLDER).plan),
    rank: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which of its ranked plans.")
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="torchtitan, megatron, ...: see `armillary list exports`."
        ),
    ] = ...,  # type: ignore[assignment]  # typer's way to say that there is no default
    out: Annotated[
        Path | None,
        options.filled("Folder; default export-NAME beside the plan.", "--out", "-o"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that hold something else.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Write a plan as files that another framework's own parser accepts.

    armillary export armillary-out/plan.json --to megatron

    armillary export 2 --to torchtitan -o recipe
    """
    from armillary.choice import chosen_plan
    from armillary.exporting import folder_beside, write_export
    from planner.export import find_exporter

    exporter = find_exporter(to, where="--to")
    export = exporter.export(chosen_plan(plan, rank))
    folder = out or folder_beside(plan, exporter.name)
    written = write_export(export, folder, force=force)
    if as_json:
        from armillary.answers import ExportAnswer

        typer.echo(ExportAnswer.of(export, written).model_dump_json(indent=2))
        return
    for path in written:
        typer.echo(f"saved: {path}")
    for line in export.notes.lines:
        typer.echo(line)
    typer.echo(f"start: cd {folder} && {export.start}")
