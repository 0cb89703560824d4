"""The catalog: named values in data files, found by name or alias.

A data file maps names to fields. Files are scanned for the wanted name as text and only those that
mention it are parsed, so that finding one device does not read them all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from simulator.catalog.mistakes import S, validate
from simulator.catalog.variant import changed
from simulator.catalog.yaml_text import Document, read_yaml
from simulator.spec.base import Spec
from simulator.spec.cluster import DeviceSpec, FabricSpec
from simulator.spec.errors import unknown_name
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.price import PriceProfile
from simulator.spec.profiles import FailureProfile, GridProfile, SoftwareProfile

DATA = Path(__file__).parent / "data"

T = TypeVar("T", bound=Spec)

_TOP_LEVEL_KEY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of named thing: what it is called and where its files are."""

    label: str
    folder: str
    type: type[T]


DEVICES = Kind("device", "devices", DeviceSpec)
FABRICS = Kind("fabric", "fabrics", FabricSpec)
MODELS = Kind("model", "models", ModelSpec)
SOFTWARE = Kind("software profile", "software", SoftwareProfile)
FAILURES = Kind("failure profile", "failures", FailureProfile)
PRICES = Kind("price list", "prices", PriceProfile)
GRIDS = Kind("grid", "grids", GridProfile)

KINDS: dict[str, Kind[Any]] = {
    kind.folder: kind for kind in (DEVICES, MODELS, FABRICS, SOFTWARE, FAILURES, PRICES, GRIDS)
}


@cache
def _texts(folder: str) -> tuple[tuple[Path, str], ...]:
    return tuple((path, path.read_text()) for path in sorted((DATA / folder).glob("*.yaml")))


@cache
def list_names(kind: str) -> tuple[str, ...]:
    """Return the names of one kind ('devices', 'models', ...), in file order."""
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    return tuple(
        name for _, text in _texts(KINDS[kind].folder) for name in _TOP_LEVEL_KEY.findall(text)
    )


def find(kind: Kind[T], name: str, *, where: str | None = None) -> T:
    """Return the named thing. Raises InputError with near names.

    Case does not matter; a note in brackets, as tables of runs have it, is not part of the name.
    """
    found: T | None = _find(kind, name.lower().partition(" (")[0])
    if found is None:
        raise unknown_name(kind.label, name, list_names(kind.folder), where=where)
    return found


@cache
def _find(kind: Kind[T], name: str) -> T | None:
    for path, text in _texts(kind.folder):
        if name not in text:
            continue
        document = read_yaml(text, f"catalog/{kind.folder}/{path.name}")
        for key, fields in document.value.items():
            if name == key or name in fields.get("aliases", ()):
                return _entry(kind.type, document, key)
    return None


def _entry(type_: type[S], document: Document, name: str) -> S:
    """Return one entry; a source that explains several fields becomes one source per field."""
    values = _fields(document, name) | {"name": name}
    if "aliases" not in type_.model_fields:
        values.pop("aliases", None)
    if "sources" in values:
        values["sources"] = [
            {"field": field} | {key: value for key, value in source.items() if key != "fields"}
            for source in values["sources"]
            for field in source["fields"]
        ]
    return validate(type_, document, values, (name,))


def _fields(document: Document, name: str) -> dict[str, Any]:
    """Return the fields of an entry over those of its `base`, another entry of the file."""
    fields = dict(document.value[name])
    base = fields.pop("base", None)
    return changed(_fields(document, base), {"aliases": []} | fields) if base else fields


def find_device(name: str, *, where: str | None = None) -> DeviceSpec:
    """Return a device by name or alias."""
    return find(DEVICES, name, where=where)


def find_fabric(name: str, *, where: str | None = None) -> FabricSpec:
    """Return a fabric."""
    return find(FABRICS, name, where=where)


def find_model(name: str, *, where: str | None = None) -> ModelSpec:
    """Return a model by name or alias."""
    return find(MODELS, name, where=where)


def find_software(name: str, *, where: str | None = None) -> SoftwareProfile:
    """Return a software generation."""
    return find(SOFTWARE, name, where=where)


def software_of(job: JobSpec) -> SoftwareProfile:
    """Return the software generation of a job, with the overlap that the job chooses."""
    profile, chosen = find_software(job.software), job.overlap.chosen
    if not chosen:
        return profile
    own = {"dp_contention": chosen.pop("contention", profile.dp_contention)}
    own["bucket_bytes"] = chosen.pop("bucket_bytes", profile.bucket_bytes)
    return profile.model_copy(update=own | {"overlap": profile.overlap.model_copy(update=chosen)})


def find_failure_profile(name: str, *, where: str | None = None) -> FailureProfile:
    """Return how often things break on one kind of cluster."""
    return find(FAILURES, name, where=where)


def find_price(name: str, *, where: str | None = None) -> PriceProfile:
    """Return a dated price of one device."""
    return find(PRICES, name, where=where)


def find_grid(name: str, *, where: str | None = None) -> GridProfile:
    """Return the carbon intensity of an electricity grid."""
    return find(GRIDS, name, where=where)


def prices_of(device_name: str) -> tuple[PriceProfile, ...]:
    """Return the prices of a device: the entries of `prices/<device>.yaml` in their order."""
    texts = {path.stem: text for path, text in _texts(PRICES.folder)}
    return tuple(find_price(name) for name in _TOP_LEVEL_KEY.findall(texts.get(device_name, "")))
