"""Errors leave one line on stderr and the exit code that the design gives them."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from armillary import cli
from simulator.catalog.plan_json import write_plan_file
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan_file import PlanFile


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", run)
    monkeypatch.setattr(cli, "_silence_stdout", lambda: None)


@pytest.mark.parametrize(
    ("error", "exit_code", "line"),
    [
        (InputError("no such thing", where="a.yaml:3"), 2, "error: a.yaml:3: no such thing\n"),
        (NoFeasiblePlan("nothing fits"), 1, "error: nothing fits\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (BrokenPipeError(), 141, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.html"),
            2,
            "error: out/a.html: No space left on device\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            2,
            "error: /a: Permission denied\n",
        ),
    ],
)
def test_one_line_and_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    exit_code: int,
    line: str,
) -> None:
    fail_with(monkeypatch, error)
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == exit_code
    assert capsys.readouterr().err == line


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, InputError("no such thing"))
    with pytest.raises(InputError):
        cli.main(["plan", "--debug"])


def test_our_own_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, AssertionError("a bug"))
    with pytest.raises(AssertionError):
        cli.main([])


def test_unknown_option_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--versoin"])
    assert left.value.code == 2
    assert "--versoin" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_under_stdout() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "armillary", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space left on device")
    assert done.stderr.count("\n") == 1


def test_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "armillary", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


SLOW_SEARCH = """
import sys, time
import planner.search
from armillary import cli

def search(*_, **__):
    print("searching", flush=True)
    time.sleep(60)

planner.search.search = search
cli.main(["plan", "scenarios/first-light.yaml", "--out", sys.argv[1]])
"""


def test_ctrl_c_ends_a_search_without_a_trace(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_SEARCH, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "searching\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["simulate", "explain", "check"])
def test_an_illegal_plan_is_refused(
    verb: str, tmp_path: Path, example_plan_file: PlanFile, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = example_plan_file.plan.model_copy(update={"tp": 7})
    file = tmp_path / "plan.json"
    write_plan_file(file, example_plan_file.model_copy(update={"plan": plan}))
    with pytest.raises(SystemExit) as left:
        cli.main([verb, str(file)])
    assert left.value.code == 2
    assert "n_heads=32 is not divisible by tp=7" in capsys.readouterr().err


def test_nothing_of_a_file_reaches_the_terminal_as_a_command(
    tmp_path: Path, example_plan_file: PlanFile, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file may hold escape sequences, which a terminal would obey."""
    plan = tmp_path / "plan.json"
    write_plan_file(plan, example_plan_file)
    plan.write_text(plan.read_text().replace('"none"', '"\\u001b[2Jnone"'))
    scenario = tmp_path / "a.yaml"
    scenario.write_text('model: llama3-8b\ncluster: "h100:8"\n"\\e[31mred": 1\n')
    table = tmp_path / "a.csv"
    table.write_text("id,model,n_devices,device\n\x1b[31m,llama3-8b,8,h100\n")
    for words in (["explain", str(plan)], ["check", str(scenario)], ["validate", str(table)]):
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        assert left.value.code == 2
        printed = capsys.readouterr()
        assert "control character U+001B" in printed.err
        assert "\x1b" not in printed.out + printed.err
