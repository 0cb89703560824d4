"""Write docs/reference from the code: verbs, functions, answers, fields of a scenario, catalog.

`python scripts/reference.py` writes the pages; with `--check` it only compares, and a page that is
out of date ends it with 1.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import armillary
import armillary.types
from armillary.answers import ANSWERS
from armillary.arguments import PLAN, SCENARIO
from armillary.cli import _application
from armillary.listings import LISTINGS
from simulator.spec.cluster import ClusterSpec
from simulator.spec.files import write_atomic
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

WIDTH = 88
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py from the code; do not edit. -->\n"


def commands_page() -> str:
    """Return every verb with its arguments and options."""
    group: Any = typer.main.get_command(_application())
    lines = [NOTE, "# Commands", ""]
    for name, command in group.commands.items():
        first, *rest = [part.strip() for part in (command.help or "").split("\n\n") if part.strip()]
        lines += [f"## armillary {name}", "", first, ""]
        if rest:
            lines += ["```", *rest, "```", ""]
        lines += ["| argument or option | meaning | default |", "|---|---|---|"]
        lines += [_parameter_row(parameter) for parameter in command.params]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _parameter_row(parameter: Any) -> str:
    names = parameter.opts + parameter.secondary_opts
    shown = parameter.metavar or parameter.name.upper() if names == [parameter.name] else names
    title = shown if isinstance(shown, str) else ", ".join(f"`{name}`" for name in shown)
    default = "" if parameter.default in (None, False) else f"`{parameter.default}`"
    return f"| {title.replace('|', '/')} | {getattr(parameter, 'help', '') or ''} | {default} |"


def python_page() -> str:
    """Return every function of `armillary` with its arguments."""
    lines = [NOTE, "# Python", "", *_as_markdown(inspect.getdoc(armillary) or ""), ""]
    lines += [
        "A wrong argument raises `InputError`, a question without an answer `NoFeasiblePlan`, a",
        "training that fails `RunError`. Answers are typed; but for the text of `init` and the",
        "dictionary of `schema` they have `to_frame()`, a pandas DataFrame.",
        "",
        f"`SomeScenario` is {SCENARIO}; `Place` is {PLAN}.",
        "",
    ]
    for name in armillary.__all__:
        function = getattr(armillary, name)
        if inspect.isfunction(function):
            lines += [f"## armillary.{name}", "", "```python", _signature(name, function), "```"]
            lines += ["", inspect.cleandoc(function.__doc__ or ""), ""]
    lines += ["## armillary.types", "", inspect.getdoc(armillary.types) or "", ""]
    for name in armillary.types.__all__:
        type_ = getattr(armillary.types, name)
        if inspect.isclass(type_):
            lines += _members_of(type_)
    return "\n".join(lines).rstrip() + "\n"


def _as_markdown(text: str) -> list[str]:
    """Return a docstring with its examples in fences."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        code = paragraph.startswith(">>>")
        lines += ["```python", paragraph, "```", ""] if code else [paragraph, ""]
    return lines[:-1]


def _members_of(type_: type) -> list[str]:
    """Return a type and what it offers: fields, properties and methods, each in a sentence."""
    lines = [f"### {type_.__name__}", "", _first_line(type_), ""]
    if type_ in (Scenario, ClusterSpec):
        return [*lines, "Its fields: [fields.md](fields.md).", ""]
    (tree,) = ast.parse(inspect.getsource(type_)).body
    assert isinstance(tree, ast.ClassDef)
    lines += ["| member | type | meaning |", "|---|---|---|"]
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef):
            lines += _method_row(node)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.target) != "version":
            said = after.value if isinstance(after, ast.Expr) else None
            words = str(said.value) if isinstance(said, ast.Constant) else ""
            lines.append(_row(ast.unparse(node.target), node.annotation, " ".join(words.split())))
    return [*lines, ""]


def _method_row(node: ast.FunctionDef) -> list[str]:
    """Return the row of a property or method; none where it makes a value or is private."""
    decorators = {ast.unparse(each) for each in node.decorator_list}
    if node.name.startswith("_") or "classmethod" in decorators:
        return []
    called = "" if decorators & {"property", "cached_property"} else "()"
    meaning = (ast.get_docstring(node) or "").split("\n")[0]
    return [_row(node.name + called, node.returns, meaning)]


def _row(name: str, annotation: ast.expr | None, meaning: str) -> str:
    kind = "" if annotation is None else ast.unparse(annotation).replace("|", "or")
    return f"| `{name}` | `{kind}` | {meaning} |"


def _first_line(type_: type) -> str:
    return (inspect.getdoc(type_) or "").split("\n")[0]


def _signature(name: str, function: Any) -> str:
    """Return `name(parameters) -> result`, one parameter a line where it is long."""
    signature = inspect.signature(function)
    words: list[str] = []
    for parameter in signature.parameters.values():
        open_end = parameter.kind is parameter.VAR_POSITIONAL
        if parameter.kind is parameter.KEYWORD_ONLY and not any(each[0] == "*" for each in words):
            words.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        words.append(f"{'*' * open_end}{parameter.name}: {parameter.annotation}{default}")
    result = f") -> {signature.return_annotation}"
    whole = f"{name}({', '.join(words)}{result}"
    if len(whole) <= WIDTH:
        return whole
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + result


def answers_page() -> str:
    """Return every field of what the verbs print with --json."""
    lines = [
        NOTE,
        "# Answers",
        "",
        "What each verb prints with `--json`; `armillary schema VERB-answer` is its JSON Schema.",
        "`version` grows when a field changes its meaning or goes; new fields may come without.",
        "Plans and scenarios have the fields of [fields.md](fields.md). SI units.",
        "",
    ]
    shown = Shown("type", _type, elsewhere=(Scenario, PlanSpec, ClusterSpec))
    for verb, answer in ANSWERS.items():
        lines += _sections(f"{verb} --json", answer, "", shown)
    return "\n".join(lines).rstrip() + "\n"


def scenario_page() -> str:
    """Return every field of a scenario, section by section, and those of a plan."""
    lines = [
        NOTE,
        "# Fields of a scenario and of a plan",
        "",
        "Quantities may carry a unit (`80 GiB`, `400 Gb/s`, `2 us`, `30d`, `1T`); bare numbers are",
        "SI. `model` and `cluster` also take a catalog name, a short form or a file;",
        "`cluster.device` and `cluster.fabric` take a catalog name.",
        "",
    ]
    for title, model in (("A scenario", Scenario), ("A plan", PlanSpec)):
        lines += _sections(title, model, "", Shown("default", _default))
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True)
class Shown:
    """How models are shown: what stands beside a field, and which models are shown elsewhere."""

    title: str
    cell: Callable[[FieldInfo], str]
    elsewhere: tuple[type[BaseModel], ...] = ()


def _sections(title: str, model: type[BaseModel], prefix: str, shown: Shown) -> list[str]:
    """Return the fields of a model and of the models in it."""
    lines = [f"## {title}", "", (model.__doc__ or "").split("\n\n")[0].replace("\n", " "), ""]
    lines += [f"| field | meaning | {shown.title} |", "|---|---|---|"]
    inner: list[str] = []
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        meaning = (field.description or "").replace("\n", " ").replace("|", "/")
        if section is not None:
            meaning = meaning or (section.__doc__ or "").split("\n")[0]
            if section not in shown.elsewhere:
                inner += _sections(f"`{prefix}{name}`", section, f"{prefix}{name}.", shown)
        lines.append(f"| `{prefix}{name}` | {meaning} | {shown.cell(field)} |")
    return [*lines, "", *inner]


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _type(field: FieldInfo) -> str:
    names = re.sub(r"\b(\w+\.)+|<(class|enum) '|'>|NoneType", "", repr(field.annotation))
    return f"`{names}`".replace("|", "or")


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, BaseModel) or value == ():
        return ""
    return f"`{value}`"


def catalog_page() -> str:
    """Return one table per kind of thing that can be named."""
    lines = [
        NOTE,
        "# Catalog",
        "",
        "Every number with its source: `armillary list KIND NAME`.",
        "",
    ]
    for listing in LISTINGS.values():
        if listing.kind == "scenarios":
            continue
        lines += [f"## {listing.kind}", "", f"{listing.what}", ""]
        lines += [f"{listing.note[0].upper()}{listing.note[1:]}.", ""] if listing.note else []
        titles = ["name", *(title for title, _ in listing.columns)]
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        lines += [
            "| " + " | ".join([f"`{name}`", *(cell(thing) for _, cell in listing.columns)]) + " |"
            for name, thing in listing.things().items()
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


PAGES = {
    "commands.md": commands_page,
    "python.md": python_page,
    "answers.md": answers_page,
    "fields.md": scenario_page,
    "catalog.md": catalog_page,
}


def main() -> int:
    """Write the pages, or say which are out of date."""
    only_check = "--check" in sys.argv[1:]
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not only_check:
            write_atomic(path, text)
    if only_check and stale:
        print(f"out of date: {', '.join(stale)}; run scripts/reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
