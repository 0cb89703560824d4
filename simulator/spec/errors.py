"""Errors a user can cause or must be told about.

    ArmillaryError            anything reported without a traceback
    |-- InputError            bad input: exit code 2
    |   `-- Mistakes          several of them at once
    |-- NoFeasiblePlan        a valid question without an answer: exit code 1
    `-- RunError              a real run that failed: exit code 1

A message says what is wrong and the value, `where` says the place (`file:line` or a flag), `fix`
says what to do. Our own bugs stay `AssertionError`s and show their traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class ArmillaryError(Exception):
    """Base of every error that is shown to the user as one message."""

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.message}{advice}"


class InputError(ArmillaryError):
    """A scenario, plan, flag or file that cannot be used as it is."""

    exit_code = 2


class Mistakes(InputError):
    """Several mistakes of one input, shown together."""

    def __init__(self, errors: Sequence[InputError]) -> None:
        super().__init__("\n".join([f"{len(errors)} mistakes", *map(str, errors)]))
        self.errors = tuple(errors)


class NoFeasiblePlan(ArmillaryError):
    """The question is valid, and nothing answers it."""

    exit_code = 1


class RunError(ArmillaryError):
    """A real training run failed."""

    exit_code = 1


def near_names(name: str, known: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return the known names closest to `name`, best first."""
    lowered = {candidate.lower(): candidate for candidate in known}
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, lowered, n=limit, cutoff=0.5)
    if not close:
        close = [candidate for candidate in lowered if wanted and wanted in candidate][:limit]
    return [lowered[candidate] for candidate in close]


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, where: str | None = None
) -> InputError:
    """Return the error for a name that is not in the catalog, with the nearest ones."""
    names, name = list(known), str(name)  # Python hands anything in
    near = near_names(name, names)
    family = [each for each in names if len(name) > 1 and each.lower().startswith(name.lower())]
    if len(family) > len(near):
        fix = "did you mean one of " + _listed(family) + "?"
    elif near:
        fix = "did you mean " + " or ".join(near) + "?"
    else:
        fix = "known: " + _listed(names)
    shown = name if len(name) <= 60 else name[:57] + "..."
    return InputError(f"unknown {kind} {shown!r}", where=where, fix=fix)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def all_of(errors: Sequence[InputError]) -> InputError:
    """Return one error that shows every mistake on its own line, in the order of the file."""
    flat = [single for error in errors for single in getattr(error, "errors", (error,))]
    return flat[0] if len(flat) == 1 else Mistakes(sorted(flat, key=_line))


def _line(error: InputError) -> int:
    """Return the line that an error stands on; flags have none and come first."""
    _, _, line = (error.where or "").rpartition(":")
    return int(line) if line.isdecimal() else 0
