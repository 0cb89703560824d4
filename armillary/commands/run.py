"""`armillary run`: do it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from runtime.result import RunResult, StepMetrics
    from simulator.spec.plan_file import PlanFile


def command(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN|SCENARIO", help="A plan.json, or a scenario to plan.")
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to train; default is the scenario's.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Where the run leaves its files; default is runs/<scenario>."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the run directory.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Loopback port on which ranks meet; 0: any.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train for real under a plan, and set what was measured beside what was predicted.

    armillary run scenarios/first-light.yaml

    armillary run armillary-out/plan.json --steps 50
    """
    from runtime.launch import require_torch, run
    from runtime.result import RunResult

    require_torch()
    plan_file = read_question(plan)
    place = run_dir or Path("runs") / plan_file.scenario.name
    result = run(
        plan_file, run_dir=place, steps=steps, resume=resume, port=port, on_step=show_step
    )
