"""`armillary size`: find how many devices of which kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from armillary import options

if TYPE_CHECKING:
    from planner.size import SizeOption
    from simulator.spec.economics import EconomicsSpec
    from simulator.spec.scenario import Scenario


def command(
    scenario: options.ScenarioFile = None,
    finish_within: options.FinishWithin = None,
    budget: options.Budget = None,
    minimize: options.Minimize = None,
    devices: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Kinds of device, or `all`; default is the scenario's."),
    ] = None,
    model: options.Model = None,
    cluster: options.Cluster = None,
    tokens: options.Tokens = None,
    sequence_length: options.SequenceLength = None,
    batch: options.Batch = None,
    precision: options.PrecisionName = None,
    overrides: options.Overrides = None,
    target: options.TargetName = None,
    table: options.TableFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the fewest, cheapest and greenest devices that finish in time.

    Looks at numbers up to 4 times the fewest: the least time is that of those.

    armillary size scenarios/llama3-70b-on-64-h100.yaml --finish-within 30d --devices all
    """
    from armillary.question import question
    from armillary.screens.command_line import folded
    from armillary.screens.size import size_screen
    from armillary.table_file import write_table
    from planner.size import size

    asked = options.Asked(
        file=scenario,
        model=model,
        cluster=cluster,
        tokens=tokens,
        sequence_length=sequence_length,
        batch=batch,
        precision=precision,
        finish_within=finish_within,
        budget=budget,
        minimize=minimize,
        target=target,
        overrides=tuple(overrides or ()),
    )
    scenario_asked = asked.scenario()
    sizing = size(scenario_asked, devices=_kinds(devices, scenario_asked.economics))
    if table is not None:
        write_table(table, sizing.to_frame())
    if as_json:
        typer.echo(sizing.model_dump_json(indent=2))
    else:
        best = sizing.best_by(scenario_asked.goal.minimize)
        planned = _planned(asked, scenario_asked, best)
        typer.echo(size_screen(sizing, best, question=question(scenario_asked)))
        if table is not None:
            typer.echo(f"saved: {table}")
        typer.echo(folded(["armillary", "plan", *planned], indent="next: "))


def _planned(asked: options.Asked, scenario: Scenario, best: SizeOption) -> list[str]:
    """Return the words that plan on an option; a drawn fabric stays, of so many nodes."""
    from simulator.catalog import find_device

    if scenario.cluster.fabric.graph is None:
        return asked.words(cluster=f"{best.device}:{best.n_devices}")
    nodes = best.n_devices // find_device(best.device).devices_per_node
    sized = (f"cluster.device={best.device}", f"cluster.nodes={nodes}")
    return asked.words() + [word for each in sized for word in ("--set", each)]


def _kinds(devices: str | None, economics: EconomicsSpec) -> tuple[str, ...]:
    """Return catalog names: those given, or all that can be rented on the scenario's terms."""
    from simulator.catalog import find_device, list_names
    from simulator.catalog.offers import has_offer

    if devices is None:
        return ()
    if devices == "all":
        return tuple(name for name in list_names("devices") if has_offer(economics, name))
    return tuple(
        find_device(name.strip(), where="--devices").name
        for name in devices.split(",")
        if name.strip()
    )
