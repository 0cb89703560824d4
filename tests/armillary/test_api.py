"""Every verb is a function of `armillary` that returns what the verb prints, as values."""

from __future__ import annotations

from pathlib import Path

import pytest

import armillary
from armillary.commands import VERBS
from planner.export import find_exporter
from simulator.catalog.cluster import parse_cluster
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile
from simulator.validate import PUBLISHED
from tests.runtime.test_compare import leave_run, steps

FILE = "scenarios/first-light.yaml"


def test_every_verb_is_there() -> None:
    assert set(VERBS) | {"load_scenario", "__version__"} == set(armillary.__all__)
    assert all(getattr(armillary, verb).__doc__ for verb in VERBS)


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
