"""The verbs as Python functions; whatever is heavy is imported when one of them is called.

They return typed values. Those that hold several of a kind, or many numbers, have `to_frame()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armillary.answers import RunAnswer
    from armillary.checking import Checked
    from armillary.choice import Place
    from armillary.listings import Listed
    from armillary.simulation import Simulation
    from planner.explain import Explanation
    from planner.export import Export
    from planner.result import SearchResult
    from planner.size import Sizing
    from planner.whatif import WhatIf
    from runtime.compare import Comparison
    from runtime.result import StepMetrics
    from simulator.spec.cluster import ClusterSpec
    from simulator.spec.scenario import Scenario
    from simulator.step.predict import Engine
    from simulator.validate import Validation


def load_scenario(path: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """Return the scenario of a file, with `key=value` changes over it."""
    from simulator.catalog.scenario_file import load_scenario as load

    return load(path, overrides=tuple(overrides))


def plan(scenario: Scenario | str | Path, *, top: int = 10) -> SearchResult:
    """Return the best plans of a scenario or of a scenario file.

    Raises NoFeasiblePlan, with what would help, when there is none.
    """
    from planner.search import search

    return search(_scenario(scenario), top=top)


def simulate(
    place: Place,
    rank: int | None = None,
    *,
    engine: Engine = "events",
    n_replicas: int = 20,
    within: float | None = None,
) -> Simulation:
    """Return what happens in a step of a plan and over its campaign.

    By events, the campaign is simulated `n_replicas` times, or until the mean goodput is known to
    `within`.
    """
    from armillary.choice import chosen_plan
    from armillary.simulation import simulate_plan

    chosen = chosen_plan(place, rank)
    return simulate_plan(chosen, engine=engine, n_replicas=n_replicas, within=within)


def whatif(scenario: str | Path, changes: Iterable[str]) -> WhatIf:
    """Return the best plan of a scenario file for all combinations of `key=a,b,c` changes."""
    from planner.whatif import Grid
    from planner.whatif import whatif as planned

    return planned(lambda some: load_scenario(scenario, some), Grid.of(changes))


def size(
    scenario: Scenario | str | Path,
    *,
    finish_within: float | None = None,
    budget: float | None = None,
    devices: tuple[str, ...] = (),
) -> Sizing:
    """Return how many devices meet a deadline (in seconds) and a budget (in dollars)."""
    from planner.size import size as sized

    return sized(_scenario(scenario), finish_within=finish_within, budget=budget, devices=devices)


def explain(
    place: Place,
    rank: int | None = None,
    *,
    against: int | None = None,
    number: str | None = None,
) -> Explanation:
    """Return what limits a plan and where its numbers come from, one of them or all."""
    from armillary.choice import chosen_plan
    from planner.explain import explain as explained

    return explained(chosen_plan(place, rank), against=against, number=number)


def export(
    place: Place, rank: int | None = None, *, to: str, folder: str | Path | None = None
) -> Export:
    """Return a plan in the words of another framework, and write it where a folder is given."""
    from armillary.choice import chosen_plan
    from armillary.exporting import write_export
    from planner.export import find_exporter

    exported = find_exporter(to).export(chosen_plan(place, rank))
    if folder is not None:
        write_export(exported, Path(folder))
    return exported


def run(
    place: Place,
    rank: int | None = None,
    *,
    steps: int | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    faults: str | Path | None = None,
    max_restarts: int = 0,
    port: int = 0,
    on_step: Callable[[StepMetrics], None] | None = None,
) -> RunAnswer:
    """Train for real on this machine; without `run_dir`, in a new folder of runs/.

    `on_step` is called with every step as soon as it is measured. `faults` is a table of outages
    to inject; the run recovers from them as the scenario says.
    """
    from armillary.training import Training

    training = Training.of(
        place,
        rank,
        steps=steps,
        run_dir=run_dir,
        resume=resume,
        faults=faults,
        max_restarts=max_restarts,
    )
    return training.run(port=port, on_step=on_step or (lambda _: None))


def calibrate(
    *, ranks: tuple[int, ...] = (1, 2, 4), quick: bool = False, name: str = "this-machine"
) -> ClusterSpec:
    """Measure this machine with some numbers of ranks at work, and return it as a cluster."""
    from datetime import UTC, datetime

    from runtime.calibrate import calibrate as measured
    from runtime.launch import require_torch

    require_torch()
    date = datetime.now(UTC).date().isoformat()
    return measured(date=date, ranks=ranks, quick=quick, name=name)


def compare(run_dir: str | Path) -> Comparison:
    """Return what a run measured beside what its plan predicted."""
    from runtime.compare import compare as compared

    return compared(Path(run_dir))


def validate(*tables: str | Path, n_anchors: int = 0, left_out: bool = False) -> Validation:
    """Return predictions beside measured runs: those of some CSV tables, or the published ones.

    With `left_out`, published sources are predicted by constants fitted without them; with
    `n_anchors`, every source is calibrated from so many of its rows, which are not scored.
    """
    from simulator.validate import PUBLISHED
    from simulator.validate import validate as judged

    paths = tuple(map(Path, tables)) or PUBLISHED
    return judged(paths, n_anchors=n_anchors, left_out=left_out)


def list_(kind: str | None = None, name: str | None = None) -> Listed:
    """Return what can be named: the kinds, the things of a kind, or one of them."""
    from armillary.listings import listed

    return listed(kind, name)


def init(*, model: str | None = None, cluster: str | None = None) -> str:
    """Return the text of a scenario file to start from."""
    from simulator.catalog.template import scenario_template

    return scenario_template(model=model, cluster=cluster)


def check(file: str | Path, overrides: Iterable[str] = ()) -> Checked:
    """Return what a valid scenario or plan file asks. Raises InputError with every mistake."""
    from armillary.checking import check as checked

    return checked(Path(file), overrides=tuple(overrides))


def schema(kind: str = "scenario") -> dict[str, Any]:
    """Return the JSON Schema of a file that one writes, or of a verb's `--json`."""
    from armillary.schemas import schema_of

    return schema_of(kind)


def _scenario(scenario: Scenario | str | Path) -> Scenario:
    from simulator.spec.scenario import Scenario

    return scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
