"""YAML as untrusted text: read with limits, every value with the line it stands on.

Built from ruamel's event stream instead of its loader, so that size, depth, anchors, tags and
duplicate keys are judged before anything grows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import ScalarNode

from simulator.spec.base import Spec
from simulator.spec.errors import InputError
from simulator.spec.files import control_character

LIMIT_BYTES = 256 * 1024
LIMIT_DEPTH = 40
LIMIT_ALIASES = 100
LIMIT_VALUES = 20_000
"""Values after every alias is followed."""

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the root to a value."""


@dataclass(frozen=True, slots=True)
class Document:
    """A value of dicts, lists and scalars, and the place where each part was written."""

    value: Any
    places: Mapping[KeyPath, str]
    """Place of a part: `file:line`, or the flag that set it."""
    name: str
    """The file or flag as a whole."""

    def part(self, path: KeyPath) -> Any:
        """Return the value at a path, or None."""
        value: Any = self.value
        for key in path:
            if isinstance(value, list):
                value = dict(enumerate(value))
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def where(self, path: KeyPath) -> str:
        """Return the place of a part, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.name

    def mistake(self, path: KeyPath, what: str, fix: str | None = None) -> InputError:
        """Return the error for a part; a flag that names the field as its place does not twice."""
        field, where = ".".join(map(str, path)), self.where(path)
        named = where.rpartition(" ")[2] == field
        return InputError(what if named or not field else f"{field}: {what}", where=where, fix=fix)


def read_yaml(text: str, name: str) -> Document:
    """Return the content of a YAML text. Raises InputError with `name:line`."""
    if len(text.encode()) > LIMIT_BYTES:
        raise InputError(f"larger than {LIMIT_BYTES // 1024} KiB", where=name)
    return _Builder(name).build(text)


def to_yaml(value: Spec, *, comment: str = "") -> str:
    """Return a described thing, whole, as YAML that reads back equal."""
    yaml = YAML(typ="safe", pure=True)
    yaml.width = 100
    yaml.default_flow_style = None  # innermost mappings and lists in one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(value.model_dump(mode="json", exclude_none=True), text)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + text.getvalue()


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun and not ended."""

    path: KeyPath
    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    n_values: int = 1


@dataclass(slots=True)
class _Builder:
    name: str
    yaml: YAML = field(default_factory=lambda: YAML(typ="safe", pure=True))
    places: dict[KeyPath, str] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    root: Any = None
    n_aliases: int = 0
    n_documents: int = 0

    def build(self, text: str) -> Document:
        try:
            for event in self.yaml.parse(text):
                self._take(event)
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None)
            raise InputError(
                f"not valid YAML: {problem or 'unreadable'}",
                where=f"{self.name}:{mark.line + 1}" if mark is not None else self.name,
                fix="check quotes, brackets and indents",
            ) from None
        return Document(self.root, self.places, self.name)

    def _error(self, event: Event, message: str, fix: str) -> InputError:
        return InputError(message, where=self._place(event), fix=fix)

    def _place(self, event: Event) -> str:
        return f"{self.name}:{event.start_mark.line + 1}"

    def _take(self, event: Event) -> None:
        if isinstance(event, DocumentStartEvent):
            self.n_documents += 1
            if self.n_documents > 1:
                raise self._error(event, "a second document (---)", "keep one document per file")
        elif isinstance(event, CollectionEndEvent):
            done = self.stack.pop()
            if done.anchor:
                self.anchors[done.anchor] = (done.value, done.n_values)
            self._store(event, done.value, done.n_values)
        elif isinstance(event, NodeEvent):
            if getattr(event, "tag", None) is not None:
                raise self._error(event, "a tag (!...)", "tags are not used here: remove it")
            character = control_character(getattr(event, "value", None) or "")
            if character is not None:
                raise self._error(event, f"the control character {character}", "remove it")
            parent = self.stack[-1] if self.stack else None
            if parent is not None and isinstance(parent.value, dict) and parent.key is None:
                self._begin_entry(event, parent)
            else:
                self._begin_value(event, parent)

    def _begin_entry(self, event: NodeEvent, parent: _Open) -> None:
        if not isinstance(event, ScalarEvent):
            raise self._error(event, "a key that is not plain text", "quote it if it is meant so")
        key = event.value
        if key == "<<":
            raise self._error(event, "a merge key (<<)", "use extends: another-file.yaml")
        if key in parent.value:
            raise self._error(event, f"{_short(key)} is given twice", "remove one of them")
        parent.key = key
        self.places[(*parent.path, key)] = self._place(event)

    def _begin_value(self, event: NodeEvent, parent: _Open | None) -> None:
        if parent is None:
            path: KeyPath = ()
        elif parent.key is not None:
            path = (*parent.path, parent.key)
        else:
            path = (*parent.path, len(parent.value))
        self.places.setdefault(path, self._place(event))
        if isinstance(event, CollectionStartEvent):
            if len(self.stack) >= LIMIT_DEPTH:
                raise self._error(event, f"nested deeper than {LIMIT_DEPTH} levels", "flatten it")
            is_mapping = isinstance(event, MappingStartEvent)
            self.stack.append(_Open(path, {} if is_mapping else [], event.anchor))
        elif isinstance(event, AliasEvent):
            self._store(event, *self._aliased(event))
        elif isinstance(event, ScalarEvent):
            value = self._scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            self._store(event, value, 1)

    def _aliased(self, event: AliasEvent) -> tuple[Any, int]:
        self.n_aliases += 1
        if self.n_aliases > LIMIT_ALIASES:
            raise self._error(event, f"more than {LIMIT_ALIASES} aliases (*name)", "write them out")
        if event.anchor not in self.anchors:
            raise self._error(
                event,
                f"alias *{_short(event.anchor)} without a complete anchor before it",
                "define the anchor above; it cannot hold itself",
            )
        return self.anchors[event.anchor]

    def _store(self, event: Event, value: Any, n_values: int) -> None:
        if not self.stack:
            self.root = value
            return
        parent = self.stack[-1]
        parent.n_values += n_values
        if sum(container.n_values for container in self.stack) > LIMIT_VALUES:
            raise self._error(event, f"more than {LIMIT_VALUES} values", "split the file")
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is not None:
            parent.value[parent.key] = value
            parent.key = None

    def _scalar(self, event: ScalarEvent) -> Any:
        tag = str(self.yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
        text = event.value.replace("_", "")
        try:
            match tag.removeprefix("tag:yaml.org,2002:"):
                case "null":
                    return None
                case "bool":
                    return event.value.lower() == "true"
                case "int":
                    return int(text, 0 if text.lstrip("+-").startswith(("0x", "0o")) else 10)
                case "float":
                    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise self._error(
                event, f"number {_short(event.value)} cannot be read", "write fewer digits"
            ) from None
        return event.value


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
