"""Documents in layers: a scenario over the one it extends, and flags over both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulator.catalog.yaml_text import LIMIT_BYTES, Document, KeyPath, read_yaml
from simulator.spec.errors import InputError
from simulator.spec.files import read_text

LIMIT_LAYERS = 10

_LAID_OUT = re.compile(r"(?P<base>[^@/]+)@(?P<layout>[a-z-]+:.+)")
"""A device, perhaps with a count, laid out as a file says: `h100-sxm@slurm:topology.conf`."""

TABLES = (("reliability", "replay"), ("economics", "price_series"))
"""Lists that may be the name of a file with one row an entry instead."""

_STARTS_ANEW: dict[KeyPath, set[str]] = {
    ("model",): {"base", "name"},
    ("cluster",): {"base"},
    ("cluster", "fabric"): {"base"},
}
"""Parts that replace what they extend when they name one of these keys."""

_ONE_OF = ({"nodes", "devices"}, {"global_batch_sequences", "global_batch_tokens"})
"""Fields that say the same thing: giving one takes back the other."""


def looks_like_path(text: str) -> bool:
    """Return whether a model or cluster is meant as a file, not as a name."""
    return "/" in text or text.endswith((".json", ".yaml", ".yml"))


def read_layers(path: Path) -> Document:
    """Return a YAML file on top of everything it extends."""
    layers: list[Document] = []
    seen: list[Path] = []
    where: str | None = None
    while True:
        resolved = path.resolve()
        if resolved in seen or len(seen) >= LIMIT_LAYERS:
            trail = " -> ".join(p.name for p in [*seen, resolved])
            raise InputError(f"extends in a circle or too deep: {trail}", where=where)
        seen.append(resolved)
        document = read_mapping(path)
        layers.append(document)
        extended = document.value.pop("extends", None)
        if extended is None:
            break
        where = document.where(("extends",))
        if not isinstance(extended, str) or "://" in extended:
            raise InputError("extends: must be the path of a local file", where=where)
        path = path.parent / extended
    result = layers.pop()
    while layers:
        result = merge(result, layers.pop())
    return result


def read_mapping(path: Path) -> Document:
    """Return a YAML file that must hold a mapping, with its model and cluster as mappings."""
    document = read_yaml(read_text(path, limit_bytes=LIMIT_BYTES), str(path))
    if not isinstance(document.value, dict):
        raise InputError(
            "holds no mapping of fields",
            where=str(path),
            fix="start from `armillary init`",
        )
    return with_bases(document, path.parent)


def with_bases(document: Document, folder: Path) -> Document:
    """Write `model: name` as `model: {base: name}`, cluster alike; files relative to `folder`.

    `limits: FILE` becomes what the file holds.
    """
    value = dict(document.value)
    for section in ("model", "cluster"):
        part = value.get(section)
        if isinstance(part, str):
            laid_out = _LAID_OUT.fullmatch(part) if section == "cluster" else None
            part = value[section] = laid_out.groupdict() if laid_out else {"base": part}
        if isinstance(part, dict) and isinstance(part.get("base"), str):
            base = part["base"]
            if looks_like_path(base):
                part = value[section] = part | {"base": str(folder / base)}
        if section == "cluster" and isinstance(part, dict):
            value[section] = part | _cluster_files(part, folder)
    for section, field in TABLES:
        part = value.get(section)
        if isinstance(part, dict) and isinstance(part.get(field), str):
            value[section] = part | {field: str(folder / part[field])}
    places = dict(document.places)
    if isinstance(value.get("limits"), str):
        limits = read_mapping(folder / value["limits"])
        value["limits"] = limits.value
        places |= {("limits", *path): place for path, place in limits.places.items()}
    return Document(value, places, document.name)


def _cluster_files(cluster: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return the names of files that a cluster's fields hold, relative to `folder`."""
    files = {}
    if isinstance(cluster.get("kernels"), str):
        files["kernels"] = str(folder / cluster["kernels"])
    if isinstance(cluster.get("layout"), str):
        kind, separator, path = cluster["layout"].partition(":")
        files["layout"] = f"{kind}:{folder / path}" if separator and path else cluster["layout"]
    return files


def merge(below: Document, above: Document) -> Document:
    """Return `above` laid over `below`, mapping by mapping."""
    value = _merge(below.value, _with_other_device(below, above), ())
    return Document(value, {**below.places, **above.places}, above.name)


def _with_other_device(below: Document, above: Document) -> Any:
    """Return `above`; where its cluster only names another device, based on the cluster below."""
    cluster = above.part(("cluster",))
    extends = isinstance(cluster, dict) and isinstance(below.part(("cluster",)), dict)
    if not extends or "base" in cluster or isinstance(cluster.get("device", {}), dict):
        return above.value
    return above.value | {"cluster": cluster | {"base": below}}


def _merge(below: Any, above: Any, path: KeyPath) -> Any:
    if isinstance(below, str) and isinstance(above, dict) and path in _STARTS_ANEW:
        below = {"base": below}
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if above.keys() & _STARTS_ANEW.get(path, set()):
        return above
    return over(below, {key: _merge(below.get(key), above[key], (*path, key)) for key in above})


def over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `above` over those of `below`."""
    dropped = {name for group in _ONE_OF if group & above.keys() for name in group - above.keys()}
    return {key: field for key, field in below.items() if key not in dropped} | above


def apply_overrides(document: Document, overrides: Iterable[str]) -> Document:
    """Return the document with `a.b=c` settings on top."""
    for override in overrides:
        document = merge(document, _override(override))
    return document


def _override(text: str) -> Document:
    key, separator, given = text.partition("=")
    name = f"--set {key:.60}"
    path = tuple(key.split("."))
    if not separator or not all(part.isidentifier() for part in path):
        raise InputError(f"--set {text!r:.60}", fix="write it like job.tokens=1T")
    value = read_yaml(given, name).value
    for part in reversed(path):
        value = {part: value}
    return with_bases(Document(value, {path: name}, name), Path())
