"""Options that several verbs share, and the scenario that they describe together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from simulator.spec.scenario import Scenario

_QUESTION = "Question (over the file's, if there is one)"
_GOAL = "Goal"
_OUTPUT = "Output"

ScenarioFile = Annotated[
    Path | None, typer.Argument(metavar="[SCENARIO]", help="A scenario file (YAML).")
]
Rank = Annotated[int | None, typer.Argument(metavar="[N]", help="Which of the ranked plans.")]
Model = Annotated[
    str | None,
    typer.Option(help="Catalog name, or path to a config.json.", rich_help_panel=_QUESTION),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Device and count, as h100-sxm:64; h100-sxm@slurm:FILE.", rich_help_panel=_QUESTION
    ),
]
Tokens = Annotated[
    str | None, typer.Option(help="Tokens to train on, as 1T.", rich_help_panel=_QUESTION)
]
SequenceLength = Annotated[
    str | None, typer.Option(help="Tokens of one sequence.", rich_help_panel=_QUESTION)
]
Batch = Annotated[
    str | None, typer.Option(help="Sequences of one step.", rich_help_panel=_QUESTION)
]
PrecisionName = Annotated[
    str | None, typer.Option("--precision", help="bf16, fp8, ...", rich_help_panel=_QUESTION)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any field of a scenario, as limits.tp=8. Repeatable.",
        rich_help_panel=_QUESTION,
    ),
]
Minimize = Annotated[
    str | None, typer.Option(help="time, cost, energy or carbon.", rich_help_panel=_GOAL)
]
AtQuantile = Annotated[
    str | None,
    typer.Option(
        help="Best for this share of single campaigns, as 0.9, not in the mean.",
        rich_help_panel=_GOAL,
    ),
]
FinishWithin = Annotated[
    str | None,
    typer.Option("--finish-within", "--finish-in", help="Deadline, as 60d.", rich_help_panel=_GOAL),
]
Budget = Annotated[str | None, typer.Option(help="Most dollars, as 5M.", rich_help_panel=_GOAL)]
TargetName = Annotated[
    str | None,
    typer.Option("--target", help="What must be able to run the plan.", rich_help_panel=_GOAL),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=_OUTPUT)]


def written(help: str, *names: str) -> Any:  # noqa: A002  # typer's word
    """Return the option of a file that the verb writes."""
    return _written(_require_file, help, names)


def drawn(help: str) -> Any:  # noqa: A002
    """Return the option of a picture that the verb draws."""
    return _written(_picture_form, f"{help} (.svg or .png).", ())


def tabled(help: str, *names: str) -> Any:  # noqa: A002
    """Return the option of a table that the verb writes."""
    return _written(_table_form, f"{help} (.csv or .parquet).", names)


def drawn_or_tabled(help: str) -> Any:  # noqa: A002
    """Return the option of files, each a picture or a table as its name says."""

    def refuse(parameter: typer.CallbackParam, paths: list[Path] | None) -> list[Path] | None:
        from simulator.spec.picture import is_picture

        for path in paths or ():
            check = _picture_form if is_picture(path) else _table_form
            check(path, parameter.opts[0])
        return paths

    text = f"{help} (.svg, .png, .csv or .parquet). Repeatable."
    return typer.Option(callback=refuse, help=text, rich_help_panel=_OUTPUT)


def filled(help: str, *names: str) -> Any:  # noqa: A002
    """Return the option of a folder that the verb makes, if it is not there, and writes into."""
    return _written(_require_folder, help, names)


def made(help: str, *names: str) -> Any:  # noqa: A002
    """Return the option of a file that the verb writes, with the folder it lies in."""
    return _written(_require_file_in_new_folder, help, names)


def _written(check: Callable[[Path, str], None], text: str, names: tuple[str, ...]) -> Any:
    """Return an option that refuses what cannot be written, before any work is done for it."""

    def refuse(parameter: typer.CallbackParam, path: Path | None) -> Path | None:
        if path is not None:
            check(path, parameter.opts[0])
        return path

    return typer.Option(*names, callback=refuse, help=text, rich_help_panel=_OUTPUT)


def _picture_form(path: Path, where: str) -> None:
    from simulator.spec.picture import picture_form

    picture_form(path, where=where)
    _require_file(path, where)


def _table_form(path: Path, where: str) -> None:
    from armillary.table_file import require_table_file

    require_table_file(path, where=where)
    _require_file(path, where)


def _require_file(path: Path, where: str) -> None:
    """Raise InputError unless a file can be written there, in a folder that exists."""
    from simulator.spec.errors import InputError

    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {folder}", where=where)
    _require_file_in_new_folder(path, where)


def _require_file_in_new_folder(path: Path, where: str) -> None:
    from simulator.spec.errors import InputError

    if path.is_dir():
        raise InputError(f"{path} is a folder", where=where, fix="name a file")
    _require_folder(path.absolute().parent, where)


def _require_folder(path: Path, where: str) -> None:
    """Raise InputError unless a folder can be written, or made where nothing is yet."""
    from simulator.spec.errors import InputError

    there = path.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise InputError(f"{there} is no folder", where=where, fix="name another place")
    if not os.access(there, os.W_OK):
        raise InputError(f"{path} cannot be written: {there} is read-only", where=where)


TableFile = Annotated[Path | None, tabled("Write the table", "--table")]
ReportFile = Annotated[Path | None, written("Write a page to mail (HTML).", "--report")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says about the question."""

    file: Path | None
    model: str | None = None
    cluster: str | None = None
    tokens: str | None = None
    sequence_length: str | None = None
    batch: str | None = None
    precision: str | None = None
    minimize: str | None = None
    at_quantile: str | None = None
    finish_within: str | None = None
    budget: str | None = None
    target: str | None = None
    overrides: tuple[str, ...] = ()

    def scenario(self) -> Scenario:
        """Return the scenario of the file, or of the flags alone."""
        from simulator.catalog.scenario_file import load_scenario, scenario_from_flags
        from simulator.spec.errors import InputError

        if self.file is not None:
            return load_scenario(self.file, overrides=self._overrides(_QUESTION_FIELDS))
        if self.model is None or self.cluster is None:
            missing = "--model" if self.model is None else "--cluster"
            raise InputError(
                f"neither a scenario file nor {missing}",
                fix="name a file, or give at least --model and --cluster",
            )
        return scenario_from_flags(
            model=self.model,
            cluster=self.cluster,
            tokens=self.tokens,
            sequence_length=self.sequence_length,
            batch=self.batch,
            precision=self.precision,
            overrides=self._overrides({}),
        )

    def words(self, **instead: str) -> list[str]:
        """Return the words of a command line that ask the same, with some options instead."""
        names = [each.name for each in fields(self) if each.name not in ("file", "overrides")]
        given = {name: getattr(self, name) for name in names} | instead
        options = {f"--{name.replace('_', '-')}": value for name, value in given.items() if value}
        pairs = [*options.items(), *(("--set", each) for each in self.overrides)]
        place = [] if self.file is None else [str(self.file)]
        return place + [word for pair in pairs for word in pair]

    def _overrides(self, more: dict[str, str]) -> list[str]:
        fields = more | _GOAL_FIELDS
        given = [(key, getattr(self, flag)) for flag, key in fields.items()]
        return [f"{key}={value}" for key, value in given if value is not None] + [*self.overrides]


_QUESTION_FIELDS = {
    "model": "model",
    "cluster": "cluster",
    "tokens": "job.tokens",
    "sequence_length": "job.sequence_length",
    "batch": "job.global_batch_sequences",
    "precision": "job.precision",
}
_GOAL_FIELDS = {
    "minimize": "goal.minimize",
    "at_quantile": "goal.at_quantile",
    "finish_within": "goal.finish_within",
    "budget": "goal.budget",
    "target": "target",
}
