"""`armillary whatif`: a table over all combinations, a CSV and a picture."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import armillary
from armillary import cli
from planner.parallel import Workers
from planner.result import SearchResult
from planner.search import search
from planner.whatif import AnswerCache, Answered, Grid, WhatIf
from simulator.catalog import find_failure_profile, find_grid, software_of
from simulator.catalog.offers import chosen_offer
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import InputError, RunError
from simulator.spec.scenario import Scenario

FILE = "scenarios/first-light.yaml"
SMALL = ("--model", "llama3-8b", "--cluster", "h100-sxm:16", "--tokens", "100B", "--batch", "64")


def run(*arguments: str | Path) -> str:
    words = ["whatif", *map(str, arguments)]
    return CliRunner().invoke(cli._application(), words, catch_exceptions=False).stdout


def test_all_combinations_in_order() -> None:
    grid = Grid.of(["a=1, 2", "b=x"])
    assert grid.keys == ("a", "b")
    assert grid.cases() == [("1", "x"), ("2", "x")]


def test_ranges_and_lists_are_values() -> None:
    grid = Grid.of(["a=1T..4T/4,9T", "b=[1,2],{max: 4, min: 2},8", "c=0.1..0.3/3"])
    assert grid.values[0] == ("1T", "2T", "3T", "4T", "9T")
    assert grid.values[1] == ("[1,2]", "{max: 4, min: 2}", "8")
    assert grid.values[2] == ("0.1", "0.2", "0.3")
    (nested,) = Grid.of(["a={min: 2, max: 8, exclude: [4]},[1,2],16"]).values
    assert nested == ("{min: 2, max: 8, exclude: [4]}", "[1,2]", "16")


def test_one_change_at_a_time() -> None:
    grid = Grid.of(["a=1,2", "b=x"], one_at_a_time=True)
    assert grid.cases() == [("", ""), ("1", ""), ("2", ""), ("", "x")]
    assert [grid.changes(case) for case in grid.cases()] == [(), ("a=1",), ("a=2",), ("b=x",)]
    assert (grid.n_cases, grid.settled) == (4, ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "nothing is changed"),
        (["a"], "'a' changes nothing"),
        (["a="], "'a=' changes nothing"),
        (["a=1", "a=2"], "a is given twice"),
        (["a=1..300/300", "b=1..300/300"], "90,000 cases"),
        (["a=1T..4G/4"], "'1T..4G/4' is no range"),
        (["a=1.2.3T..4T/4"], "'1.2.3T..4T/4' is no range"),
    ],
)
def test_grids_that_are_none(changes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Grid.of(changes)


def test_the_question_is_the_one_that_is_answered() -> None:
    screen = run(*SMALL, "--set", "job.tokens=2T", "--set", "limits.tp=1,2")
    assert " 2 T tokens," in screen.partition("changed:")[0]


def test_the_screen(tmp_path: Path) -> None:
    table, picture = tmp_path / "w.csv", tmp_path / "w.svg"
    screen = run(
        *SMALL,
        *("--set", "cluster=h100-sxm:16,h100-sxm:32,h100-sxm:1"),
        *("--set", "reliability.failures_per_device_day=0,0.01"),
        *("--table", table, "--picture", picture),
    )
    lines = screen.splitlines()
    assert max(map(len, lines[:-2])) <= 80
    assert "changed: cluster, reliability.failures_per_device_day" in lines
    assert screen.count("none") == 2
    assert "cluster=h100-sxm:1, reliability.failures_per_device_day=0 and 1 more: no plan" in screen
    assert picture.read_text().startswith("<?xml")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["cluster"] for row in rows] == ["h100-sxm:16"] * 2 + ["h100-sxm:32"] * 2 + [
        "h100-sxm:1"
    ] * 2
    assert float(rows[0]["goodput"]) > float(rows[1]["goodput"])
    assert float(rows[0]["calendar_s"]) > float(rows[2]["calendar_s"])


def test_the_longest_time_has_the_longest_bar() -> None:
    lines = run(FILE, "--set", "job.tokens=10G,20G,40G").splitlines()
    bars = [line.count("#") for line in lines if "#" in line]
    assert bars[2] == pytest.approx(2 * bars[1], abs=1)
    assert bars[1] == pytest.approx(2 * bars[0], abs=1)


def test_json_and_python_say_the_same() -> None:
    answer = WhatIf.model_validate_json(run(FILE, "--set", "limits.tp=1,2", "--json"))
    assert answer == armillary.whatif(FILE, ["limits.tp=1,2"])
    assert [case.plan.tp for case in answer.cases if case.plan] == [1, 2]
    assert list(answer.to_frame()["limits.tp"]) == ["1", "2"]


def test_the_same_question_draws_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        run(FILE, "--set", "limits.tp=1,2", "--picture", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_bad_input_is_told_before_anything_is_planned(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean tokens"):
        run(FILE, "--set", "job.tokns=1,2")
    with pytest.raises(InputError, match=r"neither \.svg nor \.png"):
        run(FILE, "--set", "limits.tp=1,2", "--picture", tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
    assert json.loads(run(FILE, "--set", "limits.tp=1", "--json"))["version"] == 1


def test_answers_are_kept_and_an_interrupted_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (FILE, "--set", "limits.tp=1,2", "--json")
    kept = (*asked, "--cache", tmp_path / "answers")
    searched: list[Scenario] = []

    def counted(scenario: Scenario, *, top: int) -> SearchResult:
        if len(searched) == 1:
            raise ValueError("interrupted")
        searched.append(scenario)
        return search(scenario, top=top)

    monkeypatch.setattr("planner.whatif.search", counted)
    with pytest.raises(ValueError, match="interrupted"):
        run(*kept)
    (file,) = (tmp_path / "answers").iterdir()
    monkeypatch.setattr("planner.whatif.search", search)
    answer = run(*kept)
    assert answer == run(*asked)
    searched.clear()
    monkeypatch.setattr("planner.whatif.search", counted)
    assert run(*kept) == answer
    assert not searched
    file.write_text("{")  # as a broken disk may leave it
    assert run(*kept) == answer
    assert len(searched) == 1


def test_another_catalog_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profiles that the scenario names, and the price that it does not."""
    scenario = load_scenario(FILE, overrides=["cluster=h100-sxm:16"])
    AnswerCache(tmp_path).put(scenario, Answered(plan=None, prediction=None, no_answer="kept"))
    software = software_of(scenario.job)
    failures = find_failure_profile(scenario.reliability.profile)
    grid = find_grid(scenario.economics.grid)
    price = chosen_offer(scenario.economics, scenario.cluster.device.name)
    assert price is not None
    changed = {
        "software_of": software.model_copy(update={"dp_contention": 1.5}),
        "find_failure_profile": failures.model_copy(update={"repair_s": 1.0}),
        "find_grid": grid.model_copy(update={"name": "another"}),
        "chosen_offer": price.model_copy(update={"usd_per_device_hour": 99.0}),
    }
    for name, profile in changed.items():
        with monkeypatch.context() as patched:
            patched.setattr(f"planner.whatif.{name}", lambda *_, it=profile: it)
            assert AnswerCache(tmp_path).get(scenario) is None, name
    found = AnswerCache(tmp_path).get(scenario)
    assert found is not None
    assert found.no_answer == "kept"


def test_a_tornado(tmp_path: Path) -> None:
    picture = tmp_path / "t.svg"
    run(FILE, "--each", "--set", "limits.tp=1,2", "--set", "job.tokens=1M", "--picture", picture)
    assert "as it is" in picture.read_text()


@pytest.mark.parametrize(
    ("backend", "message"),
    [("dsk", "unknown backend 'dsk'; did you mean dask"), ("dask", "dask needs the package dist")],
)
def test_a_backend_that_is_not_there(
    backend: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planner.parallel.find_spec", lambda _: None)
    with pytest.raises(InputError, match=message):
        run(FILE, "--set", "limits.tp=1,2", "--backend", backend)


@pytest.mark.parametrize(
    ("failure", "told", "message"),
    [
        (ValueError("no port"), InputError, "'a:b' is no address: no port; write dask=tcp://"),
        (OSError("timed out"), RunError, "no Dask scheduler at a:b: timed out"),
    ],
)
def test_a_dask_cluster_that_cannot_be_had(
    failure: Exception, told: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client(_address: str, *, timeout: str) -> None:
        assert timeout
        raise failure

    stub = SimpleNamespace(Client=client)
    monkeypatch.setattr("planner.parallel.find_spec", lambda _: stub)
    monkeypatch.setattr("planner.parallel.import_module", lambda _: stub)
    with pytest.raises(told, match=message):
        list(Workers.of("dask=a:b", 1).run(abs, [-1]))


def test_no_processes_do_nothing() -> None:
    with pytest.raises(InputError, match="--jobs: 0 processes do nothing"):
        run(FILE, "--set", "limits.tp=1,2", "--jobs", "0")


@pytest.mark.ranks
def test_two_processes_find_the_same() -> None:
    asked = (FILE, "--set", "limits.tp=1,2,4", "--json")
    assert run(*asked, "--jobs", "2") == run(*asked)


@pytest.mark.ranks
def test_a_local_dask_cluster_finds_the_same() -> None:
    pytest.importorskip("distributed")
    asked = (FILE, "--set", "limits.tp=1,2,4", "--json")
    assert run(*asked, "--backend", "dask") == run(*asked)
