"""`armillary simulate`: say what happens in a step, and over the campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
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
    trace: Annotated[
        Path | None, typer.Option(help="Write the step as a Chrome trace, for Perfetto.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Draw the step: a picture (.svg or .png).")
    ] = None,
    report: options.ReportFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what happens in one step and over the whole training.

    armillary simulate scenarios/llama3-70b-on-64-h100.yaml

    armillary simulate armillary-out/plan.json 2 --trace trace.json
    """
    from armillary.choice import chosen_plan
    from armillary.screens.simulate import simulate_screen
    from armillary.simulation import simulate_plan
    from simulator.spec.files import write_atomic
    from simulator.step.predict import traced_step
    from simulator.step.timeline_figure import timeline_figure
    from simulator.step.trace import write_chrome_trace

    plan_file = chosen_plan(place, rank, overrides=tuple(overrides or ()))
    simulation = simulate_plan(plan_file, engine=_engine(engine))
    title = f"{simulation.scenario.name}: {simulation.plan.label()}"
    written = [path for path in (trace, timeline) if path is not None]
    if written:
        spans = traced_step(simulation.scenario, simulation.plan)
        if trace is not None:
            write_chrome_trace(trace, spans, title=title)
        if timeline is not None:
            form = options.picture_form(timeline, where="--timeline")
            write_atomic(timeline, timeline_figure(spans, title=title, form=form))
    if report is not None:
        from armillary.report import Report, write_report

        fresh = plan_file.model_copy(update={"prediction": simulation.prediction})
        write_report(report, Report.of(fresh))
        written.append(report)
    if as_json:
        typer.echo(simulation.answer().model_dump_json(indent=2))
    else:
        typer.echo(simulate_screen(simulation, written=tuple(written)))


def _engine(name: str) -> Engine:
    from simulator.spec.errors import unknown_name
    from simulator.step.predict import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise unknown_name("engine", name, ENGINES, where="--engine")
