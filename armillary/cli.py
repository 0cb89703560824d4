"""The `armillary` command: finds the verb, runs it, and turns errors into one line."""

import os
import sys
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from armillary import __version__
from armillary.commands import VERBS, python_name

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_PIPE_CLOSED = 141  # 128 + SIGPIPE


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"armillary {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[  # its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[  # main() reads it: it may stand after the verb too
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Simulate, plan and run the training of a model on a cluster."""


def _application() -> typer.Typer:
    application = typer.Typer(
        name="armillary",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(_options)
    for verb in VERBS:
        module = import_module(f"armillary.commands.{python_name(verb)}")
        application.command(verb)(module.command)
    return application


def _fail(message: str, exit_code: int) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(exit_code)


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"{reason} (while writing the output)"
    return f"{error.filename}: {reason}"


def _run(arguments: list[str]) -> int:
    application = _application()
    if "_ARMILLARY_COMPLETE" in os.environ:  # the shell asks for completions
        application()
    # Not application(arguments): typer would swallow an interrupt and a closed pipe.
    command = typer.main.get_command(application)
    try:
        with command.make_context("armillary", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except SystemExit as done:
        # rich leaves with 1, "no feasible answer", when the reader of a pipe has gone.
        if isinstance(done.__context__, BrokenPipeError):
            raise done.__context__ from None
        raise
    finally:
        sys.stdout.flush()
    return 0


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code: 0 done, 1 no feasible answer, 2 bad input."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    rest = [argument for argument in given if argument != "--debug"] or ["--help"]
    try:
        sys.exit(_run(rest))
    except typer.TyperException as error:
        verb = f" {rest[0]}" if rest and rest[0] in VERBS else ""
        _fail(
            f"{error.format_message().rstrip('.')} (see `armillary{verb} --help`)", error.exit_code
        )
    except (KeyboardInterrupt, typer.Abort):
        if debug:
            raise
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        _silence_stdout()
        sys.exit(EXIT_PIPE_CLOSED)
    except OSError as error:
        if debug:
            raise
        _silence_stdout()
        _fail(_describe(error), EXIT_BAD_INPUT)
    except Exception as error:
        from simulator.spec.errors import ArmillaryError

        if debug or not isinstance(error, ArmillaryError):
            raise
        _fail(str(error), error.exit_code)
