"""Errors leave one line on stderr and the exit code that the design gives them."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from armillary import cli
from simulator.spec.errors import InputError, NoFeasiblePlan


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
