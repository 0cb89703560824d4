"""`armillary run`: do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from runtime.result import StepMetrics

REPORT = "report.html"
N_PROGRESS_LINES = 20


def command(
    place: Annotated[
        str, typer.Argument(metavar="PLAN|SCENARIO", help="A plan.json, or a scenario to plan.")
    ],
    rank: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which of the ranked plans.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to train; default: what the scenario says.")
    ] = None,
    run_dir: Annotated[
        Path | None, options.filled("Folder of the run; default: a new one in runs/.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run there.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Loopback port where ranks meet; 0: a free one.")
    ] = 0,
    faults: Annotated[
        Path | None,
        typer.Option(
            help="Outages to inject: CSV or JSON (node,start,end,class); the ranks of a node are "
            "killed, and the run recovers as reliability.recovery says."
        ),
    ] = None,
    max_restarts: Annotated[
        int, typer.Option(min=0, help="Restarts after failures that were not injected.")
    ] = 0,
    report: options.ReportFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Train for real under a plan, and set what was measured beside what was predicted.

    armillary run scenarios/first-light.yaml

    armillary run armillary-out/plan.json --steps 50

    armillary run armillary-out/plan.json --faults outages.csv
    """
    from armillary.answers import RunAnswer
    from armillary.choice import chosen_plan
    from armillary.output_folder import run_folder
    from armillary.recovery import recovery_of
    from armillary.report import Report, write_report
    from armillary.screens.compare import compare_screen
    from armillary.screens.run import run_screen
    from armillary.simulation import with_replay
    from runtime.compare import compare
    from runtime.launch import require_torch, run

    require_torch()
    plan_file = chosen_plan(place, rank)
    if faults is not None:
        plan_file = with_replay(plan_file, faults)
    folder = run_dir or run_folder(plan_file.scenario.name, resume=resume)
    n_ranks = plan_file.plan.n_ranks
    typer.echo(f"{plan_file.plan.label()} on {n_ranks} ranks, in {folder}", err=True)
    result = run(
        plan_file,
        run_dir=folder,
        steps=steps,
        resume=resume,
        port=port,
        on_step=_progress(steps or plan_file.scenario.run.steps),
        recovery=recovery_of(plan_file, injects=faults is not None, max_restarts=max_restarts),
    )
    comparison = compare(folder)
    for page in (folder / REPORT, report):
        if page is not None:
            write_report(page, Report.of(plan_file, comparison=comparison))
    if as_json:
        typer.echo(RunAnswer.of(result, comparison).model_dump_json(indent=2))
    else:
        typer.echo(f"{run_screen(result)}\n\n{compare_screen(comparison)}")


def _progress(n_steps: int) -> Callable[[StepMetrics], None]:
    every = max(1, n_steps // N_PROGRESS_LINES)

    def show(step: StepMetrics) -> None:
        if step.step % every == 0 or step.step in (1, n_steps):
            typer.echo(
                f"step {step.step:>{len(str(n_steps))}}/{n_steps}  loss {step.loss:.4f}  "
                f"{step.step_s:.3f} s  {step.tokens_per_s:,.0f} tokens/s",
                err=True,
            )

    return show
