"""`armillary run`: do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from armillary.training import Training
    from runtime.result import StepMetrics

N_PROGRESS_LINES = 20

Place = Annotated[
    str, typer.Argument(metavar="PLAN|SCENARIO", help="A plan.json, or a scenario to plan.")
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Steps to train; default: what the scenario says.")
]
RunFolder = Annotated[
    Path | None, options.filled("Folder of the run; default: a new one in runs/.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the last checkpoint of the run there.")
]
InitFrom = Annotated[
    Path | None,
    typer.Option(help="Folder of safetensors (Hugging Face) with the initial weights."),
]
SaveWeights = Annotated[
    Path | None,
    options.filled("Folder that gets the trained weights, as transformers loads them."),
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Loopback port where ranks meet; 0: a free one.")
]
Faults = Annotated[
    Path | None,
    typer.Option(
        help="Outages to inject: CSV or JSON (node,start,end,class). Class hung, slow, "
        "corruption, full-disk or rendezvous is done to the ranks of the node; any other kills "
        "them. The run recovers as reliability.recovery says."
    ),
]
MaxRestarts = Annotated[
    int, typer.Option(min=0, help="Restarts after failures that were not injected.")
]
Profile = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Steps between two windows of torch's profiler, which tell where time went by "
        "axis and who straggles; default: what the scenario says.",
    ),
]
Prometheus = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Loopback port to serve /metrics at for Prometheus; 0: a free one.",
    ),
]
Live = Annotated[
    bool, typer.Option("--live", help="Show the run as a table that changes with every step.")
]


def command(
    place: Place,
    rank: options.Rank = None,
    steps: Steps = None,
    run_dir: RunFolder = None,
    resume: Resume = False,
    init_from: InitFrom = None,
    save_weights: SaveWeights = None,
    port: Port = 0,
    faults: Faults = None,
    max_restarts: MaxRestarts = 0,
    profile: Profile = None,
    prometheus: Prometheus = None,
    live: Live = False,
    report: options.ReportFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Train for real under a plan, and set what was measured beside what was predicted.

    armillary run scenarios/first-light.yaml

    armillary run armillary-out/plan.json --steps 50

    armillary run armillary-out/plan.json --faults outages.csv
    """
    from armillary.screens.compare import compare_screen
    from armillary.screens.run import run_screen
    from armillary.training import Training, TrainingOptions

    asked = TrainingOptions(
        steps=steps,
        run_dir=run_dir,
        resume=resume,
        init_from=init_from,
        save_weights=save_weights,
        faults=faults,
        max_restarts=max_restarts,
        profile=profile,
    )
    training = Training.of(place, rank, asked)
    plan = training.plan_file.plan
    typer.echo(f"{plan.label()} on {plan.n_ranks} ranks, in {training.run_dir}", err=True)
    with _shown(training, prometheus=prometheus, live=live) as on_step:
        answer = training.run(port=port, on_step=on_step, report=report)
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
    else:
        typer.echo(f"{run_screen(answer)}\n\n{compare_screen(answer.comparison)}")


@contextmanager
def _shown(
    training: Training, *, prometheus: int | None, live: bool
) -> Iterator[Callable[[StepMetrics], None]]:
    """Open what shows a training, and give what it is to be told of every step."""
    from armillary.screens.live import LiveView
    from runtime.prometheus import Exporter

    with ExitStack() as open_now:
        listeners: list[Callable[[StepMetrics], None]] = []
        if prometheus is not None:
            exporter = open_now.enter_context(Exporter(prometheus, training.run_dir))
            typer.echo(f"metrics at http://127.0.0.1:{exporter.port}/metrics", err=True)
            listeners.append(exporter.step)
        if live:
            listeners.append(open_now.enter_context(LiveView(training)).step)
        else:
            listeners.append(_progress(training.n_steps))

        def on_step(step: StepMetrics) -> None:
            for listen in listeners:
                listen(step)

        yield on_step


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
