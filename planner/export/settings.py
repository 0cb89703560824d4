"""Settings of another framework as one reads them: flags of a script, keys of a file.

They come from strangers, so they are looked at and never run: a shell script is split into words, a
Python file into literals. What a reader does not ask for is left over, and said.
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

MOST = 10**9

_ASSIGNED = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=([^\s;()]+)\s*(?:#.*)?$", re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::-([^}]*))?\}|([A-Za-z_]\w*))")


@dataclass(frozen=True, slots=True)
class Settings:
    """Values by name, which are checked when they are asked for."""

    values: Mapping[str, object]
    where: str
    _asked: set[str] = field(default_factory=set, compare=False)

    def get(self, *names: str) -> object:
        """Return the value of the first name that is there; None where there is none."""
        self._asked.update(names)
        return next((self.values[name] for name in names if name in self.values), None)

    def whole(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """Return a whole number. Raises InputError for anything else, and for a missing one."""
        value = self.get(*names)
        if value is None and default is not None:
            return default
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,10}", text):
            said = "is missing" if value is None else f"is {text:.40}"
            raise InputError(f"{names[0]} {said}; a whole number is expected", where=self.where)
        if not least <= int(text) <= MOST:
            raise InputError(
                f"{names[0]}={text} is not between {least} and {MOST:,}", where=self.where
            )
        return int(text)

    def text(self, *names: str, default: str) -> str:
        """Return a text."""
        value = self.get(*names)
        return default if value is None else str(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """Return whether something is switched on; a flag without a value is."""
        value = self.get(*names)
        return default if value is None else str(value).lower() in ("", "true", "1", "yes")

    def one_of(self, known: Mapping[str, str], *names: str, default: str) -> str:
        """Return what a word means to us. Raises InputError for one that means nothing."""
        value = self.text(*names, default=default)
        if value not in known:
            raise InputError(
                f"{names[0]}={value:.40} is no decision of a plan; known are {', '.join(known)}",
                where=self.where,
            )
        return known[value]

    @property
    def unread(self) -> tuple[str, ...]:
        """Names that nobody asked for."""
        return tuple(name for name in self.values if name not in self._asked)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the settings of another framework decide."""

    plan: PlanSpec
    unread: tuple[str, ...]
    """Settings that are no decision of a plan."""


Reader = Callable[[str, str, Scenario], Reading]
"""From a text, its name, and the scenario that says what is no decision: model, job and ranks."""


def n_ranks(scenario: Scenario) -> int:
    """Return the ranks of a job that uses all it may."""
    return scenario.n_devices


def share(total: int, parts: int, what: str, where: str) -> int:
    """Return total / parts. Raises InputError where that is not whole."""
    if total % parts:
        raise InputError(f"{what}: {total} is not divisible by {parts}", where=where)
    return total // parts


def script_flags(text: str, where: str) -> dict[str, object]:
    """Return the `--flags` of a script or an argument file; one without a value maps to "".

    Variables are replaced where the script assigns them plainly, `$TP` after `TP=8`. Of a flag that
    is given twice the last one counts, as argparse has it.
    """
    assigned = {  # TP=${TP:-8} is 8 where nobody sets it before
        name: _VARIABLE.sub(lambda match: match[2] or match[0], value)
        for name, value in _ASSIGNED.findall(text)
    }

    def value_of(match: re.Match[str]) -> str:
        return str(assigned.get(match[1] or match[3], match[2] or match[0]))

    found: dict[str, list[str]] = {}
    name = ""
    for word in _words(text, where):
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            found[name] = [_VARIABLE.sub(value_of, value)] * bool(has_value)
        elif name and not word.endswith(("[@]}", "[*]}")):
            found[name].append(_VARIABLE.sub(value_of, word.rstrip(")")))
        if word.endswith(")") or word in (";", "&&", "|"):
            name = ""
    return {name: " ".join(filter(None, values)) for name, values in found.items()}


def _words(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(
            f"it cannot be split into words: {error}", where=where, fix="give the arguments alone"
        ) from None


def toml_settings(text: str, where: str) -> dict[str, object]:
    """Return `section.key` of a TOML file."""
    try:
        sections = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=where) from None
    return {
        f"{section}.{key}": value
        for section, values in sections.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }


def python_settings(text: str, where: str, sections: Mapping[str, str]) -> dict[str, object]:
    """Return `section.key` of literals in a Python file, which is not run.

    A section is the keywords of a call of that name (`ParallelismConfig(...)`) or a dictionary that
    is assigned to it; `sections` maps such names to ours.
    """
    found: dict[str, object] = {}
    for node in ast.walk(_parsed(text, where)):
        for name, key, value in _literals(node):
            if name in sections:
                found[f"{sections[name]}.{key}"] = value
    return found


def python_calls(text: str, where: str) -> frozenset[str]:
    """Return the last names of what a Python file calls, which is not run."""
    nodes = ast.walk(_parsed(text, where))
    return frozenset(_called(node) for node in nodes if isinstance(node, ast.Call))


def _parsed(text: str, where: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"not valid Python: {error}", where=where) from None


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _literals(node: ast.AST) -> list[tuple[str, str, object]]:
    """Return (owner, key, value) of the literals of one call or assignment."""
    if isinstance(node, ast.Call):
        name = _called(node)
        pairs = [(each.arg, each.value) for each in node.keywords if each.arg is not None]
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
        name = ast.unparse(node.targets[0])
        keys = zip(node.value.keys, node.value.values, strict=True)
        pairs = [(str(key.value), value) for key, value in keys if isinstance(key, ast.Constant)]
    else:
        return []
    found = []
    for key, value in pairs:
        try:
            found.append((name, key, ast.literal_eval(value)))
        except (ValueError, TypeError, SyntaxError, RecursionError):
            continue  # an expression: not a setting that can be read without running it
    return found
