"""`armillary check`: a valid file is restated, an invalid one is told all its mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from armillary import cli
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.errors import InputError
from simulator.spec.plan_file import PlanFile

FILE = "scenarios/llama3-70b-on-64-h100.yaml"


def run(*arguments: str | Path) -> str:
    words = ["check", *map(str, arguments)]
    return CliRunner().invoke(cli._application(), words, catch_exceptions=False).stdout


def test_a_valid_scenario_is_restated() -> None:
    screen = run("scenarios/llama3-405b-on-16k-h100.yaml").splitlines()
    assert screen[0] == "llama3-405b-on-16k-h100 is valid"
    assert "model        llama3.1-405b: 406 B parameters, 126 layers of 16,384" in screen
    assert any("16,384 x h100-sxm-80gb of 80.0 GiB: 2,048 x 8" in line for line in screen)
    assert "goal         least time, finish_within 75 d" in screen
    assert (
        "reliability  llama3-16k-h100, 0.000474 failures per device-day (one in 3.09 h)," in screen
    )
    assert "             32 spares" in screen
    assert max(map(len, screen)) <= 80


@pytest.mark.parametrize("file", sorted(Path("scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_scenario_fits_the_screen(file: Path) -> None:
    lines = run(file).splitlines()
    assert lines[0] == f"{file.stem} is valid"
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24


def test_overrides_are_checked_too() -> None:
    assert "128 x h100-sxm-80gb" in run(FILE, "--set", "cluster.nodes=16")
    with pytest.raises(InputError, match="unknown field; did you mean tp"):
        run(FILE, "--set", "limits.tpp=16")


def test_a_checkpoint_larger_than_its_tier_is_found_without_a_plan() -> None:
    small = "{name: s, survives: region, write_bandwidth_bytes_per_s: 1e9, capacity_bytes: 1 GB}"
    with pytest.raises(InputError, match="on every node; tier 's' has 953"):
        run(FILE, "--set", f"reliability.checkpoint_tiers=[{small}]")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("economics.own={usd_per_device: 30k}", "hardware of $30000 a device over 5 years"),
        ("economics.price_series=[{from_s: 0, usd_per_device_hour: 2}]", "1 prices, $2 to $2"),
        ("reliability.failure_factor=0", "0 failures per device-day"),
    ],
)
def test_what_it_costs_and_how_often_it_fails(override: str, said: str) -> None:
    assert said in " ".join(run(FILE, "--set", override).split())


def test_json() -> None:
    answer = json.loads(run("scenarios/first-light.yaml", "--json"))
    assert (answer["version"], answer["valid"]) == (1, True)
    assert answer["scenario"]["model"]["name"] == "tiny-llama-5m"


def test_all_mistakes_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("frobs: 1\ncluster: h100:8\nmodel: lama\njob: {tokens: x}\n")
    with pytest.raises(InputError) as caught:
        run(file)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 mistakes"
    assert [line.removeprefix(f"{file}:")[:2] for line in lines[1:]] == ["1:", "3:", "4:"]
    answer = CliRunner().invoke(cli._application(), ["check", str(file), "--json"])
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["valid"] is False
    assert json.loads(answer.stdout)["mistakes"] == lines[1:]


def test_a_plan_is_checked_against_its_scenario(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    file = tmp_path / "plan.json"
    write_plan_file(file, example_plan_file)
    assert "plan         tp8+sp pp1 dp8 zero0 mb1" in run(file)
    assert json.loads(run(file, "--json"))["plan"]["tp"] == 8


def test_a_plan_that_cannot_be_is_told_which_factors(
    tmp_path: Path, example_plan_file: PlanFile
) -> None:
    file = tmp_path / "plan.json"
    plan = example_plan_file.plan.model_copy(update={"tp": 16, "n_microbatches": 5})
    write_plan_file(file, example_plan_file.model_copy(update={"plan": plan}))
    with pytest.raises(InputError) as caught:
        run(file)
    assert "plan.n_ranks: pp 1 x dp 8 x cp 1 x tp 16 = 128 ranks" in str(caught.value)
    assert "= 40 sequences, and the job's batch is 1024" in str(caught.value)


def test_a_plan_that_its_target_cannot_run(tmp_path: Path, example_plan_file: PlanFile) -> None:
    file = tmp_path / "plan.json"
    scenario = example_plan_file.scenario.model_copy(update={"target": "deepspeed"})
    write_plan_file(file, example_plan_file.model_copy(update={"scenario": scenario}))
    with pytest.raises(InputError, match="plan: deepspeed cannot run sequence_parallel"):
        run(file)


def test_overrides_do_not_change_plans(tmp_path: Path, example_plan_file: PlanFile) -> None:
    file = tmp_path / "plan.json"
    write_plan_file(file, example_plan_file)
    with pytest.raises(InputError, match="--set changes scenarios, not plans"):
        run(file, "--set", "seed=1")
