"""`armillary simulate`: say what happens in a step, and over the campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from armillary.simulation import Simulation
    from simulator.step.predict import Engine


def command(
    place: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO|PLAN", help="A scenario (its best plan is taken), or a plan file."
        ),
    ],
    rank: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which of the ranked plans.")
    ] = None,
    overrides: options.Overrides = None,
    engine: Annotated[
        str, typer.Option(metavar="ENGINE", help="events or closed-form.")
    ] = "events",
    replicas: Annotated[
        int, typer.Option(min=1, max=100_000, help="Campaigns to simulate by events.")
    ] = 20,
    within: Annotated[
        float | None,
        typer.Option(
            min=1e-6, max=1, help="Simulate until the mean goodput is known to this, as 0.001."
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Recorded outages that happen too: CSV or JSON (node,start,end,class)."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write the step as a Chrome trace, for Perfetto.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Draw the step: a picture (.svg or .png).")
    ] = None,
    progress: Annotated[
        Path | None, typer.Option(help="Draw the campaign: a picture (.svg or .png).")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the segments of one campaign as CSV.")
    ] = None,
    report: options.ReportFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what happens in one step and over the whole training.

    armillary simulate scenarios/llama3-70b-on-64-h100.yaml

    armillary simulate armillary-out/plan.json 2 --trace trace.json --progress progress.svg
    """
    from armillary.choice import chosen_plan
    from armillary.screens.simulate import simulate_screen
    from armillary.simulation import simulate_plan

    plan_file = chosen_plan(place, rank, overrides=tuple(overrides or ()))
    if replay is not None:
        from armillary.simulation import with_replay

        plan_file = with_replay(plan_file, replay)
    simulation = simulate_plan(
        plan_file, engine=_engine(engine), n_replicas=replicas, within=within
    )
    written = [
        *_draw_step(simulation, trace, timeline),
        *_draw_campaign(simulation, progress, csv),
    ]
    if report is not None:
        from armillary.report import Report, write_report

        fresh = plan_file.model_copy(update={"prediction": simulation.prediction})
        write_report(report, Report.of(fresh))
        written.append(report)
    if as_json:
        typer.echo(simulation.answer().model_dump_json(indent=2))
    else:
        typer.echo(simulate_screen(simulation, written=tuple(written)))


def _draw_step(simulation: Simulation, trace: Path | None, timeline: Path | None) -> list[Path]:
    """Write the step as a trace and as a picture; return what was written."""
    from simulator.spec.files import write_atomic
    from simulator.step.predict import traced_step
    from simulator.step.timeline_figure import timeline_figure
    from simulator.step.trace import write_chrome_trace

    written = [path for path in (trace, timeline) if path is not None]
    if written:
        title = _title(simulation)
        form = None if timeline is None else options.picture_form(timeline, where="--timeline")
        spans = traced_step(simulation.scenario, simulation.plan)
        if trace is not None:
            write_chrome_trace(trace, spans, title=title)
        if timeline is not None and form is not None:
            write_atomic(timeline, timeline_figure(spans, title=title, form=form))
    return written


def _draw_campaign(simulation: Simulation, progress: Path | None, csv: Path | None) -> list[Path]:
    """Write one campaign as a picture and as a table; return what was written."""
    from simulator.campaign.progress_figure import progress_figure
    from simulator.campaign.replicas import segments_frame
    from simulator.spec.errors import InputError
    from simulator.spec.files import write_atomic

    written = [path for path in (progress, csv) if path is not None]
    run = simulation.first_run
    if written and run is None:
        raise InputError("the closed form has no course of events to show", fix="--engine events")
    if run is not None and progress is not None:
        form = options.picture_form(progress, where="--progress")
        n_steps = simulation.prediction.campaign.n_steps
        title = _title(simulation)
        write_atomic(progress, progress_figure(run, n_steps=n_steps, title=title, form=form))
    if run is not None and csv is not None:
        write_atomic(csv, segments_frame(run).to_csv(index=False))
    return written


def _title(simulation: Simulation) -> str:
    return f"{simulation.scenario.name}: {simulation.plan.label()}"


def _engine(name: str) -> Engine:
    from simulator.spec.errors import unknown_name
    from simulator.step.predict import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise unknown_name("engine", name, ENGINES, where="--engine")
