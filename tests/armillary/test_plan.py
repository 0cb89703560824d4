"""`armillary plan` and `explain`: one screen, files that replay, errors without a traceback."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import armillary
from armillary import api, cli
from armillary.screens.plan import plan_screen
from armillary.screens.step_bar import step_bar
from planner.result import PlanAnswer
from planner.search import search
from simulator.catalog.plan_json import read_plan_file, write_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.prediction import StepBreakdown

SMALL = ("--model", "llama3-8b", "--cluster", "h100-sxm:16", "--tokens", "100B", "--batch", "64")


def run(*arguments: str | Path) -> str:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli._application(), words, catch_exceptions=False).stdout


def test_the_first_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = run("plan", *SMALL).splitlines()
    assert lines[0].startswith("llama3-8b on 16 x h100-sxm-80gb (2 nodes, 400 Gb/s per device):")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    ranks = [line[:2].strip() for line in lines if re.match(r"[ \d]\d  \S", line)]
    assert ranks == ["1", "2", "3", "4", "5"]
    text = "\n".join(lines)
    for part in (
        "legal plans in",
        "NOT calibrated",
        "step of #1: ",
        "90 %: ",
        "; fits: ",
        "replacements at hand",
        "assumed:    ",
        "armillary explain",
        "saved: ",
    ):
        assert part in text


@pytest.mark.parametrize(
    "file",
    ["first-light", "llama3-70b-on-64-h100", "mixtral-8x7b-on-256-h100"],
)
def test_shipped_scenarios_fit_the_screen(file: str) -> None:
    result = search(load_scenario(f"scenarios/{file}.yaml"), top=5)
    paths = {
        "plan_path": Path("armillary-out/plan.json"),
        "scenario_path": Path("armillary-out/scenario.yaml"),
    }
    lines = plan_screen(result, top=5, **paths).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24


def test_the_saved_scenario_gives_the_same_plan(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("plan", *SMALL, "--minimize", "energy", "--out", first)
    run("plan", first / "scenario.yaml", "--out", second)
    assert (first / "plan.json").read_bytes() == (second / "plan.json").read_bytes()
    assert (first / "scenario.yaml").read_bytes() == (second / "scenario.yaml").read_bytes()


def test_flags_change_a_file() -> None:
    file = "scenarios/llama3-70b-on-64-h100.yaml"
    asked = json.loads(
        run("plan", file, "--cluster", "h100-sxm:32", "--tokens", "2T", "--batch", "64", "--json")
    )["question"]
    assert "on 32 x h100-sxm-80gb" in asked
    assert "2 T tokens, 64 x 8,192 a step" in asked


def test_json_follows_its_type(tmp_path: Path) -> None:
    text = run("plan", *SMALL, "--top", "2", "--json", "--out", tmp_path)
    answer = PlanAnswer.model_validate_json(text)
    assert [line.rank for line in answer.plans] == [1, 2]
    assert answer.plans[0].plan == read_plan_file(tmp_path / "plan.json").plan
    best = answer.plans[0].prediction
    for name in ("step_s", "calendar_s", "cost_usd"):
        low, high = getattr(best, f"interval_{name}")
        assert low < getattr(best, name) < high
    step, calendar = best.interval_step_s, best.interval_calendar_s
    assert calendar[1] / calendar[0] >= step[1] / step[0] * (1 - 1e-9)


def test_every_decision_can_be_pinned(tmp_path: Path) -> None:
    pins = {"tp": 2, "pp": 2, "dp_shard": 4, "zero_stage": 1, "microbatch_sequences": 2}
    flags = [word for key, value in pins.items() for word in ("--set", f"limits.{key}={value}")]
    run("plan", *SMALL, *flags, "--out", tmp_path)
    plan = read_plan_file(tmp_path / "plan.json").plan
    assert {key: getattr(plan, key) for key in pins} == pins


def test_the_target_restricts(tmp_path: Path) -> None:
    run("plan", *SMALL, "--target", "megatron", "--top", "5", "--out", tmp_path)
    plans = read_plan_file(tmp_path / "plan.json").alternatives
    assert {ranked.plan.zero_stage for ranked in plans} <= {0, 1}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("plan",), InputError, "neither a scenario file nor --model"),
        (("plan", "--model", "llama3-8b"), InputError, "neither a scenario file nor --cluster"),
        (("plan", "--model", "lama3-8b", "--cluster", "h100-sxm:8"), InputError, "llama3-8b"),
        (("plan", "none.yaml"), InputError, "none.yaml: cannot be read"),
        (("plan", *SMALL, "--target", "megatorn"), InputError, "did you mean megatron"),
        (("plan", *SMALL, "--minimize", "regret"), InputError, "minimize"),
        (("plan", *SMALL, "--finish-within", "1h"), NoFeasiblePlan, "finish_within is 60 min"),
        (
            ("plan", "--model", "llama3-70b", "--cluster", "h100-sxm:8", "--tokens", "1T"),
            NoFeasiblePlan,
            "no plan fits: the nearest needs",
        ),
        (("explain", "none.json"), InputError, "none.json: cannot be read"),
    ],
)
def test_bad_questions(
    arguments: tuple[str, ...], error: type[Exception], message: str, tmp_path: Path
) -> None:
    more = ("--out", tmp_path / "out") if arguments[0] == "plan" else ()
    with pytest.raises(error) as raised:
        run(*arguments, *more)
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "armillary", "plan", *SMALL, "--out", tmp_path / "file" / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --out: {tmp_path}/file is no folder")
    assert done.stderr.count("\n") == 1


def test_exit_code_of_a_question_without_answer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "armillary", "plan", *SMALL, "--finish-within", "1h"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_explain_reads_the_file_that_plan_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("plan", *SMALL)
    screen = run("explain", "2", "--against", "1")
    assert screen.startswith("plan 2: ")
    assert "what binds" in screen
    assert "against " in screen
    assert max(map(len, screen.splitlines())) <= 80
    number = run("explain", "--number", "goodput")
    assert "computed by simulator/campaign/campaign_table.py: campaign_table" in number
    assert max(map(len, number.splitlines())) <= 100
    document = json.loads(run("explain", "armillary-out/plan.json", "1", "--json"))
    assert (document["version"], document["rank"]) == (1, 1)


def test_explain_takes_the_chosen_plan_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("plan", *SMALL)
    file = read_plan_file("armillary-out/plan.json")
    write_plan_file("second.json", file.choosing(2))
    assert run("explain", "second.json").startswith("plan 2: ")
    assert run("explain", "second.json", "1").startswith("plan 1: ")
    pinned = file.plan.model_copy(update={"checkpoint_interval_s": 600.0})
    write_plan_file("third.json", file.model_copy(update={"plan": pinned}))
    assert run("explain", "third.json", "--against", "1").startswith("the plan: ")
    assert armillary.explain("second.json").rank == 2


@pytest.mark.parametrize(
    "question",
    [
        SMALL,
        (
            "--model",
            "gpt3-175b",
            "--cluster",
            "a100-sxm-80gb:128",
            "--set",
            "job.sequence_length=2048",
        ),
        ("--model", "deepseek-v3", "--cluster", "h200-sxm-141gb:512"),
        (*SMALL, "--target", "deepspeed"),
        (*SMALL, "--target", "torchtitan"),
        ("--model", "tiny-llama-5m", "--cluster", "h100-sxm:8", "--target", "armillary"),
    ],
    ids=lambda words: words[1] if isinstance(words, tuple) else str(words),
)
def test_the_next_commands_work_as_they_stand(
    question: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = run("plan", *question, "--out", "an answer")
    following = screen.partition("next:")[2].partition("saved:")[0]
    commands = [shlex.split(line) for line in following.splitlines() if line.strip()]
    assert [words[:2] for words in commands] == [
        ["armillary", verb] for verb in ("explain", "simulate", "export")
    ]
    for _, *words in commands:
        assert run(*words)
    asked = question[-1] if "--target" in question else None
    assert asked in (None, "armillary", commands[-1][-1])


def test_python_says_the_same() -> None:
    result = armillary.plan("scenarios/first-light.yaml", top=2)
    assert armillary.plan is api.plan
    assert list(result.to_frame().index) == [1, 2]


def test_the_bar_is_as_long_as_it_should_be() -> None:
    breakdown = StepBreakdown(forward_s=1.0, backward_s=2.0, bubble_s=0.999, dp_s=0.001)
    bar, legend = step_bar(breakdown, width=40, legend_width=80)
    assert bar == "#" * 10 + "=" * 20 + "." * 10
    assert legend == "# forward 25%  = backward 50%  . bubble 25%"
    assert step_bar(breakdown, width=40, legend_width=42) == (
        "#" * 10 + "=" * 20 + "-" * 10,
        "# forward 25%  = backward 50%  - other 25%",
    )


def test_a_front_as_picture_and_table(tmp_path: Path) -> None:
    files = [tmp_path / "front.svg", tmp_path / "front.csv"]
    asked = [word for file in files for word in ("--pareto", str(file))]
    text = run("plan", *SMALL, *asked, "--json", "--out", tmp_path / "out")
    front = PlanAnswer.model_validate_json(text).front
    assert front is not None
    assert front.counts == (16, 8)
    assert files[0].read_text().startswith("<?xml")
    assert len(files[1].read_text().splitlines()) == 1 + len(front.plans)
    screen = run("plan", *SMALL, *asked[2:], "--out", tmp_path / "out")
    assert f"front:      {len(front.plans)} plans that none beats in time, cost" in screen


def test_a_front_is_refused_before_anything_is_planned() -> None:
    with pytest.raises(InputError, match=r"--pareto: front\.pdf is neither"):
        run("plan", *SMALL, "--pareto", "front.pdf")
