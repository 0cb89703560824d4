"""`armillary simulate`: say what happens in a step, and over the campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armillary import options

Place = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO|PLAN", help="A scenario (its best plan is taken), or a plan file."
    ),
]
Engine = Annotated[str, typer.Option(metavar="ENGINE", help="events or closed-form.")]
Replicas = Annotated[int, typer.Option(min=1, max=100_000, help="Campaigns to simulate by events.")]
Within = Annotated[
    float | None,
    typer.Option(
        min=1e-6, max=1, help="Simulate until the mean goodput is known to this, as 0.001."
    ),
]
Replay = Annotated[
    Path | None,
    typer.Option(help="Recorded outages that happen too: CSV or JSON (node,start,end,class)."),
]
Schedule = Annotated[
    Path | None,
    typer.Option(
        help="Another order of passes than the plan's: CSV, a line per stage, cells as 0F3."
    ),
]
Trace = Annotated[Path | None, options.written("Write the step as a Chrome trace, for Perfetto.")]
Timeline = Annotated[Path | None, options.drawn("Draw the step")]
Memory = Annotated[Path | None, options.drawn("Draw what every stage holds over the step")]
Passes = Annotated[Path | None, options.written("Write the order of passes (.csv), to change it.")]
Progress = Annotated[Path | None, options.drawn("Draw the first campaign")]
Course = Annotated[Path | None, options.tabled("Write what happened in the first of them")]
Table = Annotated[Path | None, options.tabled("Write a row per simulated campaign")]


def command(
    place: Place,
    rank: options.Rank = None,
    overrides: options.Overrides = None,
    engine: Engine = "events",
    replicas: Replicas = 20,
    within: Within = None,
    replay: Replay = None,
    schedule: Schedule = None,
    trace: Trace = None,
    timeline: Timeline = None,
    memory: Memory = None,
    passes: Passes = None,
    progress: Progress = None,
    course: Course = None,
    table: Table = None,
    report: options.ReportFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what happens in one step and over the whole training.

    armillary simulate scenarios/llama3-70b-on-64-h100.yaml

    armillary simulate armillary-out/plan.json 2 --trace trace.json --progress progress.svg
    """
    from armillary.choice import chosen_plan
    from armillary.screens.simulate import simulate_screen
    from armillary.simulation import find_engine, simulate_plan, with_replay
    from armillary.simulation_files import SimulationFiles
    from simulator.schedule import read_schedule

    clock = find_engine(engine, where="--engine")
    files = SimulationFiles(
        trace=trace,
        timeline=timeline,
        memory=memory,
        passes=passes,
        progress=progress,
        course=course,
        table=table,
        report=report,
    )
    files.check(has_course=clock == "events", own_order=schedule is not None)
    plan_file = chosen_plan(place, rank, overrides=tuple(overrides or ()))
    if replay is not None:
        plan_file = with_replay(plan_file, replay)
    order = None if schedule is None else read_schedule(schedule)
    simulation = simulate_plan(
        plan_file, engine=clock, n_replicas=replicas, within=within, schedule=order
    )
    written = files.write(simulation, plan_file)
    if as_json:
        typer.echo(simulation.answer().model_dump_json(indent=2))
    else:
        typer.echo(simulate_screen(simulation, written=written))
