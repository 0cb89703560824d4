"""`armillary plan`: find the best plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options
from armillary.output_folder import DEFAULT_FOLDER, OutputFolder

if TYPE_CHECKING:
    from planner.result import Front
    from simulator.spec.scenario import Scenario

Top = Annotated[int, typer.Option(min=1, max=100, help="Plans to rank.")]
Out = Annotated[Path, options.filled("Folder for plan.json.", "--out", "-o")]
Pareto = Annotated[
    list[Path] | None,
    options.drawn_or_tabled("Write the plans that none beats in time, cost, energy and memory"),
]


def command(
    scenario: options.ScenarioFile = None,
    model: options.Model = None,
    cluster: options.Cluster = None,
    tokens: options.Tokens = None,
    sequence_length: options.SequenceLength = None,
    batch: options.Batch = None,
    precision: options.PrecisionName = None,
    overrides: options.Overrides = None,
    minimize: options.Minimize = None,
    at_quantile: options.AtQuantile = None,
    finish_within: options.FinishWithin = None,
    budget: options.Budget = None,
    target: options.TargetName = None,
    top: Top = 5,
    out: Out = DEFAULT_FOLDER,
    report: options.ReportFile = None,
    pareto: Pareto = None,
    as_json: options.AsJson = False,
) -> None:
    """Search the best plan: mesh, schedule, microbatch, sharding, recompute.

    armillary plan scenarios/llama3-405b-on-16k-h100.yaml

    armillary plan --model llama3-70b --cluster h100-sxm:64 --tokens 1T
    """
    from armillary.question import question
    from armillary.screens.plan import front_line, plan_screen
    from planner.search import search

    asked = options.Asked(
        file=scenario,
        model=model,
        cluster=cluster,
        tokens=tokens,
        sequence_length=sequence_length,
        batch=batch,
        precision=precision,
        minimize=minimize,
        at_quantile=at_quantile,
        finish_within=finish_within,
        budget=budget,
        target=target,
        overrides=tuple(overrides or ()),
    )
    scenario_asked = asked.scenario()
    result = search(scenario_asked, top=top)
    front = _front(scenario_asked, pareto) if pareto else None
    folder = OutputFolder(out)
    folder.save(result)
    if report is not None:
        from armillary.report import Report, write_report

        write_report(report, Report.of(result.plan_file()))
    if as_json:
        typer.echo(result.answer(question(result.scenario), front).model_dump_json(indent=2))
        return
    typer.echo(plan_screen(result, top=top, plan_path=folder.plan, scenario_path=folder.scenario))
    if front is not None:
        typer.echo(front_line(front, pareto or []))


def _front(scenario: Scenario, files: list[Path]) -> Front:
    """Return the front of a scenario, written into files as their names say."""
    from armillary.pareto_figure import pareto_figure
    from armillary.table_file import write_table
    from planner.pareto import pareto
    from simulator.spec.files import write_atomic
    from simulator.spec.picture import is_picture, picture_form

    front = pareto(scenario)
    for path in files:
        if is_picture(path):
            drawn = pareto_figure(front, title=scenario.name, form=picture_form(path))
            write_atomic(path, drawn)
        else:
            write_table(path, front.to_frame())
    return front
