"""Every verb is a function of `armillary` that returns what the verb prints, as values."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import armillary
import armillary.types
from armillary.commands import VERBS, python_name
from planner.export import find_exporter
from simulator.catalog.cluster import parse_cluster
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile
from simulator.validate import PUBLISHED
from tests.runtime.test_compare import leave_run, steps

FILE = "scenarios/first-light.yaml"
anything: Any = armillary
"""The same, for calls that a type checker would refuse."""


def test_every_verb_is_there() -> None:
    others = {
        "__version__",
        "scenario",
        "load_scenario",
        "InputError",
        "NoFeasiblePlan",
        "RunError",
    }
    assert set(map(python_name, VERBS)) | others == set(armillary.__all__)
    assert sorted(armillary.__all__) == dir(armillary)
    assert all(getattr(armillary, python_name(verb)).__doc__ for verb in VERBS)


def test_the_example_of_the_reference_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(armillary, optionflags=options, report=False).failed == 0
    assert (tmp_path / "out").is_dir()


def test_the_types_of_all_answers_can_be_named() -> None:
    answered = {
        inspect.signature(getattr(armillary, verb)).return_annotation
        for verb in armillary.__all__
        if inspect.isfunction(getattr(armillary, verb))
    }
    assert answered - {"str", "dict[str, Any]"} <= set(armillary.types.__all__)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: anything.plan(3), "3 is not a scenario, what `plan` returned, or the path"),
        (lambda: anything.simulate({}), "{} is not a plan file or a scenario"),
        (lambda: anything.simulate(FILE, "1"), "rank: '1' is not a whole number from 1 on"),
        (lambda: anything.simulate(FILE, engine="event"), "unknown engine 'event'; did you mean"),
        (lambda: anything.simulate(FILE, within=0), "within: 0 is not a number above 0"),
        (lambda: anything.explain(FILE, against=0), "against: 0 is not a whole number"),
        (lambda: anything.whatif(FILE, [3]), "is not texts that read key=a,b,c"),
        (lambda: anything.plan(FILE, top=True), "top: True is not a whole number"),
        (lambda: anything.size(FILE, finish_within="soon"), "not a duration"),
        (lambda: anything.export(FILE, to=3), "unknown export target '3'"),
        (lambda: anything.run(FILE, max_restarts=-1), "max_restarts: -1 is not a whole number"),
        (lambda: anything.compare(None), "run_dir: None is not a path"),
        (lambda: anything.list(3), "unknown kind '3'"),
        (lambda: anything.scenario(model=3, cluster="cpu:2"), "--model: model: is missing"),
        (lambda: anything.init(model=3), "model: 3 is not a text"),
        (lambda: anything.calibrate(ranks="12"), "ranks: '1' is not a whole number"),
        (lambda: anything.load_scenario([FILE] * 9), "this list is not a scenario"),
    ],
)
def test_what_is_not_accepted_is_said_in_a_line(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(armillary.InputError) as raised:
        wrong()
    assert message in str(raised.value)
    assert len(str(raised.value)) < 200


def test_a_plan_is_simulated_explained_and_exported(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    file = example_plan_file
    simulation = armillary.simulate(file, engine="closed-form")
    assert simulation.plan == file.plan
    assert list(simulation.to_frame().index) == list(range(file.plan.pp))
    explained = armillary.explain(file, 1, number="step_s")
    assert list(explained.to_frame().index) == ["step_s"]
    exported = armillary.export(file, to="megatron", folder=tmp_path / "out")
    assert exported == find_exporter("megatron").export(file)
    names = list(exported.to_frame().index)
    assert names
    assert all((tmp_path / "out" / name).read_text() == exported.text(name) for name in names)


def test_a_scenario_is_as_good_as_its_file() -> None:
    scenario = armillary.load_scenario(FILE, ["job.global_batch_sequences=8"])
    assert scenario.job.batch_sequences == 8
    mine = armillary.simulate(scenario, engine="closed-form")
    assert mine.plan == armillary.plan(scenario, top=1).best.plan
    assert armillary.check(FILE).to_frame().loc["scenario.name", "value"] == "first-light"
    assert list(armillary.whatif(FILE, ["limits.tp=1,2"]).to_frame()["limits.tp"]) == ["1", "2"]


def test_an_answer_is_as_good_as_its_file() -> None:
    found = armillary.plan(FILE, top=2)
    again = armillary.simulate(found, 2, engine="closed-form")
    assert again.plan == found.plans[1].plan
    assert armillary.explain(found, 2, against=1).rank == 2
    changed = armillary.load_scenario(found, ["seed=8", "job.tokens=1M"])
    assert changed == armillary.load_scenario(FILE, ["seed=8", "job.tokens=1M"])
    assert armillary.whatif(found, "limits.tp=1").cases[0].plan is not None


def test_a_scenario_of_words_is_that_of_the_flags() -> None:
    flags = {"model": "gpt2", "cluster": "h100-sxm:8", "precision": "bf16"}
    assert anything.scenario(**flags, tokens=1e9, batch=64) == scenario_from_flags(
        **flags, tokens="1G", batch="64"
    )


def test_ranks_are_those_of_the_file(example_plan_file: PlanFile) -> None:
    with pytest.raises(InputError, match="there is no plan 2"):
        armillary.simulate(example_plan_file, 2)


def test_runs_and_tables(tmp_path: Path, example_plan_file: PlanFile) -> None:
    leave_run(tmp_path / "run", example_plan_file, steps())
    assert "forward" in armillary.compare(tmp_path / "run").to_frame().index[0]
    table = tmp_path / "rows.csv"
    table.write_text("".join(PUBLISHED[0].read_text().splitlines(keepends=True)[:3]))
    frame = armillary.validate(table).to_frame()
    assert list(frame.index) == ["llm-foundry-0001", "llm-foundry-0002"]
    assert (frame["predicted_step_s"] / frame["measured_step_s"] - 1).abs().max() < 0.2


def test_what_can_be_named() -> None:
    assert "devices" in armillary.list().to_frame().index
    devices = armillary.list("devices").to_frame()
    assert devices.loc["h100-sxm-80gb", "peak.bf16_flops_per_s"] == 989e12
    assert list(armillary.list("models", "llama3-8b").to_frame().index) == ["llama3-8b"]


def test_texts_and_schemas() -> None:
    text = armillary.init(model="gpt2", cluster="cpu:2")
    assert "gpt2" in text
    assert "cpu:2" in text
    assert armillary.schema()["title"] == "Armillary scenario"
    assert armillary.schema("plan-answer")["title"] == "PlanAnswer"


def test_any_description_is_a_frame() -> None:
    frame = parse_cluster("h100-sxm:16").to_frame()
    assert frame.loc["device.name", "value"] == "h100-sxm-80gb"
    assert frame.loc["n_nodes", "value"] == 2
