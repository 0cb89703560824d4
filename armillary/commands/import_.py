"""`armillary import`: read settings that one has as a plan, and say why it is not the best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options
from armillary.output_folder import DEFAULT_FOLDER, DEFAULT_PLAN


def command(
    settings: Annotated[
        Path, typer.Argument(metavar="SETTINGS", help="A launch script, ds_config.json, recipe.")
    ],
    plan: Annotated[
        str, typer.Argument(metavar="[PLAN]", help="The answer to compare with; or a scenario.")
    ] = DEFAULT_PLAN,
    framework: Annotated[
        str,
        typer.Option(
            "--from", metavar="NAME", help="torchtitan, megatron, deepspeed or accelerate."
        ),
    ] = ...,  # type: ignore[assignment]  # typer's way to say that there is no default
    out: Annotated[
        Path, options.made("Plan file; it keeps the answer's ranks too.", "--out", "-o")
    ] = DEFAULT_FOLDER / "imported.json",
    as_json: options.AsJson = False,
) -> None:
    """Read the settings of another framework as a plan, and compare it with the best.

    armillary import pretrain.sh --from megatron

    armillary import ds_config.json scenarios/llama3-70b-on-64-h100.yaml --from deepspeed
    """
    from armillary.api import import_
    from armillary.screens.imported import import_screen
    from planner.explain import explain
    from simulator.catalog.plan_json import write_plan_file

    imported = import_(settings, plan, framework=framework)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_plan_file(out, imported.plan_file)
    explanation = explain(imported.plan_file, against=1)
    if as_json:
        from armillary.answers import ImportAnswer

        typer.echo(ImportAnswer.of(imported, explanation, out).model_dump_json(indent=2))
        return
    typer.echo(import_screen(imported, explanation, out))
