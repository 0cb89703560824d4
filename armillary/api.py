"""The verbs as Python functions; whatever is heavy is imported when one of them is called.

They return typed values. Those that hold several of a kind, or many numbers, have `to_frame()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from armillary.answers import RunAnswer
    from armillary.checking import Checked
    from armillary.choice import Place
    from armillary.listings import Listed
    from armillary.simulation import Simulation
    from planner.explain import Explanation
    from planner.export import Export
    from planner.imports import Imported
    from planner.result import SearchResult
    from planner.size import Sizing
    from planner.whatif import WhatIf
    from runtime.compare import Comparison
    from runtime.result import StepMetrics
    from simulator.spec.cluster import ClusterSpec
    from simulator.spec.plan_file import PlanFile
    from simulator.spec.scenario import Scenario
    from simulator.step.predict import Engine
    from simulator.validate import Validation

    SomeScenario = Scenario | SearchResult | PlanFile | str | Path


def scenario(
    *,
    model: str,
    cluster: str,
    tokens: float | str | None = None,
    sequence_length: int | str | None = None,
    batch: int | str | None = None,
    precision: str | None = None,
    overrides: Iterable[str] = (),
) -> Scenario:
    """Return the scenario that the same options of `armillary plan` describe.

    `model` and `cluster` are names of the catalog or files, as `llama3-70b` and `h100-sxm:64`;
    `overrides` are changes to any other field, as `goal.finish_within=60d`.
    """
    from armillary.arguments import some_texts
    from simulator.catalog.scenario_file import scenario_from_flags

    numbers = {"tokens": tokens, "sequence_length": sequence_length, "batch": batch}
    return scenario_from_flags(
        model=model,
        cluster=cluster,
        **{name: None if value is None else str(value) for name, value in numbers.items()},
        precision=precision,
        overrides=some_texts(overrides, "key=value texts"),
    )


def load_scenario(scenario: SomeScenario, overrides: Iterable[str] = ()) -> Scenario:
    """Return the scenario of a file, or another scenario, with `key=value` changes over it."""
    from armillary.arguments import some_scenario

    return some_scenario(scenario, overrides)


def plan(scenario: SomeScenario, *, top: int = 10) -> SearchResult:
    """Return the `top` best plans of a scenario.

    Raises NoFeasiblePlan, with what would help, when there is none.
    """
    from armillary.arguments import some_count, some_scenario
    from planner.search import search

    return search(some_scenario(scenario), top=some_count(top, "top"))


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
    `within`. With `engine="closed-form"` both are computed without events.
    """
    from armillary.arguments import some_count, some_share
    from armillary.choice import chosen_plan
    from armillary.simulation import find_engine, simulate_plan

    return simulate_plan(
        chosen_plan(place, rank),
        engine=find_engine(engine),
        n_replicas=some_count(n_replicas, "n_replicas"),
        within=some_share(within, "within"),
    )


def whatif(scenario: SomeScenario, changes: Iterable[str]) -> WhatIf:
    """Return the best plan of a scenario for every combination of `key=a,b,c` changes."""
    from armillary.arguments import some_scenario, some_texts
    from planner.whatif import Grid
    from planner.whatif import whatif as planned

    grid = Grid.of(some_texts(changes, "texts that read key=a,b,c"))
    return planned(lambda some: some_scenario(scenario, some), grid)


def size(
    scenario: SomeScenario,
    *,
    finish_within: float | str | None = None,
    budget: float | str | None = None,
    minimize: str | None = None,
    devices: Iterable[str] = (),
) -> Sizing:
    """Return how many devices meet a deadline (seconds, or as `30d`) and a budget (dollars, `5M`).

    What is not given is the scenario's own; `minimize` (time, cost, energy or carbon) is what the
    plan of each number is best at, `devices` are names of the catalog. Raises NoFeasiblePlan when
    no number does.
    """
    from armillary.arguments import some_scenario, some_texts
    from planner.size import size as sized

    goal = {"finish_within": finish_within, "budget": budget, "minimize": minimize}
    given = tuple(f"goal.{name}={value}" for name, value in goal.items() if value is not None)
    return sized(
        some_scenario(scenario, given), devices=some_texts(devices, "names of kinds of device")
    )


def explain(
    place: Place,
    rank: int | None = None,
    *,
    against: int | None = None,
    number: str | None = None,
) -> Explanation:
    """Return what limits a plan and where its numbers come from, one of them or all.

    `against` is the rank of another plan, from which the differences are told.
    """
    from armillary.arguments import some_rank
    from armillary.choice import chosen_plan
    from planner.explain import explain as explained

    chosen = chosen_plan(place, rank)
    return explained(chosen, against=some_rank(against, "against"), number=number)


def export(
    place: Place,
    rank: int | None = None,
    *,
    to: str,
    folder: str | Path | None = None,
    force: bool = False,
) -> Export:
    """Return a plan in the words of another framework, and write it where a folder is given.

    `to` is one of `armillary.list("exports")`. Raises InputError where the framework cannot run
    the plan.
    """
    from armillary.arguments import some_path
    from armillary.choice import chosen_plan
    from armillary.exporting import write_export
    from planner.export import find_exporter

    exported = find_exporter(to).export(chosen_plan(place, rank))
    if folder is not None:
        write_export(exported, some_path(folder, "folder"), force=force)
    return exported


def import_(
    settings: str | Path, place: Place, rank: int | None = None, *, framework: str
) -> Imported:
    """Return the settings of another framework as a plan, for the scenario of an answer.

    `settings` is a launch script or argument file of Megatron-LM, a DeepSpeed configuration, a
    recipe, TOML file or script of torchtitan, or a Python module that makes an Accelerator of
    accelerate; it is read and never run. `framework` says which.
    """
    from armillary.arguments import some_path
    from armillary.choice import chosen_plan
    from planner.imports import MOST_BYTES, read_settings
    from simulator.spec.files import read_text

    path = some_path(settings, "settings")
    text = read_text(path, limit_bytes=MOST_BYTES)
    return read_settings(text, str(path), framework, chosen_plan(place, rank))


def run(  # noqa: PLR0913  what the verb takes
    place: Place,
    rank: int | None = None,
    *,
    steps: int | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    faults: str | Path | None = None,
    max_restarts: int = 0,
    init_from: str | Path | None = None,
    save_weights: str | Path | None = None,
    port: int = 0,
    on_step: Callable[[StepMetrics], None] | None = None,
) -> RunAnswer:
    """Train for real on this machine; without `run_dir`, in a new folder of runs/.

    `on_step` is called with every step as soon as it is measured. `faults` is a table of outages
    to inject; the run recovers from them as the scenario says. Weights come from the safetensors of
    `init_from` and go to `save_weights`, folders of Hugging Face. Raises RunError when it fails.
    """
    from armillary.arguments import some_count, some_path
    from armillary.training import Training, TrainingOptions

    options = TrainingOptions(
        steps=None if steps is None else some_count(steps, "steps"),
        run_dir=None if run_dir is None else some_path(run_dir, "run_dir"),
        resume=resume,
        faults=None if faults is None else some_path(faults, "faults"),
        max_restarts=some_count(max_restarts, "max_restarts", least=0),
        init_from=None if init_from is None else some_path(init_from, "init_from"),
        save_weights=None if save_weights is None else some_path(save_weights, "save_weights"),
    )
    training = Training.of(place, rank, options)
    return training.run(port=port, on_step=on_step or (lambda _: None))


def calibrate(
    *, ranks: Iterable[int] = (1, 2, 4), quick: bool = False, name: str = "this-machine"
) -> ClusterSpec:
    """Measure this machine with some numbers of ranks at work, and return it as a cluster."""
    from datetime import UTC, datetime

    from armillary.arguments import some_counts
    from runtime.calibrate import calibrate as measured
    from runtime.launch import require_torch

    require_torch()
    date = datetime.now(UTC).date().isoformat()
    return measured(date=date, ranks=some_counts(ranks, "ranks"), quick=quick, name=name)


def compare(run_dir: str | Path) -> Comparison:
    """Return what a run measured beside what its plan predicted."""
    from armillary.arguments import some_path
    from runtime.compare import compare as compared

    return compared(some_path(run_dir, "run_dir"))


def validate(*tables: str | Path, n_anchors: int = 0, left_out: bool = False) -> Validation:
    """Return predictions beside measured runs: those of some CSV tables, or the published ones.

    With `left_out`, published sources are predicted by constants fitted without them; with
    `n_anchors`, every source is calibrated from so many of its rows, which are not scored.
    """
    from armillary.arguments import some_path
    from simulator.validate import PUBLISHED
    from simulator.validate import validate as judged

    paths = tuple(some_path(table, "tables") for table in tables) or PUBLISHED
    return judged(paths, n_anchors=n_anchors, left_out=left_out)


def list_(kind: str | None = None, name: str | None = None) -> Listed:
    """Return what can be named: the kinds, the things of a kind, or one of them."""
    from armillary.listings import listed

    return listed(kind, name)


def init(*, model: str | None = None, cluster: str | None = None) -> str:
    """Return the text of a scenario file to start from."""
    from armillary.arguments import some_text
    from simulator.catalog.template import scenario_template

    return scenario_template(model=some_text(model, "model"), cluster=some_text(cluster, "cluster"))


def check(file: str | Path, overrides: Iterable[str] = ()) -> Checked:
    """Return what a valid scenario or plan file asks. Raises InputError with every mistake."""
    from armillary.arguments import some_path, some_texts
    from armillary.checking import check as checked

    changes = some_texts(overrides, "key=value texts")
    return checked(some_path(file, "file"), overrides=changes)


def schema(kind: str = "scenario") -> dict[str, Any]:
    """Return the JSON Schema of a file that one writes, or of a verb's `--json`."""
    from armillary.schemas import schema_of

    return schema_of(kind)
