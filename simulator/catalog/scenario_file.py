"""Scenarios from YAML files and from flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.catalog import registry
from simulator.catalog.cluster import cluster_of
from simulator.catalog.layers import TABLES, apply_overrides, read_layers, with_bases
from simulator.catalog.mistakes import mistakes_of
from simulator.catalog.model import model_of
from simulator.catalog.offers import find_offer, offers_of
from simulator.catalog.outage_file import read_outages
from simulator.catalog.price_file import read_prices
from simulator.catalog.yaml_text import Document, KeyPath
from simulator.spec.base import Precision, Spec, spec_name
from simulator.spec.choice import listed
from simulator.spec.cluster import ClusterSpec
from simulator.spec.errors import InputError, all_of
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.scenario import Scenario
from simulator.spec.target import find_target


def load_scenario(path: str | Path, *, overrides: Iterable[str] = ()) -> Scenario:
    """Return the scenario of a YAML file, with `a.b=c` overrides over it.

    Raises one InputError that lists every mistake as `file:line: field: what; what to do`.
    """
    file = Path(path)
    document = apply_overrides(read_layers(file), overrides)
    return _scenario(document, default_name=file.stem)


def scenario_from_flags(
    *,
    model: str,
    cluster: str,
    tokens: str | None = None,
    sequence_length: str | None = None,
    batch: str | None = None,
    precision: str | None = None,
    overrides: Iterable[str] = (),
) -> Scenario:
    """Return the scenario of command-line flags; counts may be written `1T` or `64k`."""
    flags: dict[KeyPath, tuple[str, str | None]] = {
        ("model",): ("--model", model),
        ("cluster",): ("--cluster", cluster),
        ("job", "tokens"): ("--tokens", tokens),
        ("job", "sequence_length"): ("--sequence-length", sequence_length),
        ("job", "global_batch_sequences"): ("--batch", batch),
        ("job", "precision"): ("--precision", precision),
    }
    job = {str(path[1]): text for path, (_, text) in flags.items() if len(path) > 1 and text}
    document = Document(
        {"model": model, "cluster": cluster, "job": job},
        {path: flag for path, (flag, _) in flags.items()},
        "flags",
    )
    return _scenario(apply_overrides(with_bases(document, Path()), overrides))


def with_overrides(scenario: Scenario, overrides: Iterable[str]) -> Scenario:
    """Return a scenario with `a.b=c` changes over it, as if it had been read from a file."""
    whole = Document(scenario.model_dump(mode="json", exclude_none=True), {}, scenario.name)
    changes = tuple(overrides)
    return _scenario(apply_overrides(whole, changes)) if changes else scenario


def _scenario(document: Document, *, default_name: str = "") -> Scenario:
    """Return the typed scenario, or raise with all its mistakes."""
    mistakes: list[InputError] = []
    fields: dict[str, Any] = dict(document.value)
    for section, resolve in _RESOLVED.items():
        fields.pop(section, None)
        try:
            fields[section] = resolve(document)
        except InputError as error:
            mistakes.append(error)
    for section, field in TABLES:
        place = document.part((section, field))
        if isinstance(place, str):
            try:
                rows = _READERS[section, field](Path(place), fields[section])
            except InputError as error:
                mistakes.append(error)
                rows = ()
            fields[section] = fields[section] | {field: rows}
    fields["job"] = _with_defaults(
        fields.get("job", {}), fields.get("model"), fields.get("cluster")
    )
    if "name" not in fields:
        fields["name"] = spec_name(default_name) if default_name else _pair_name(fields)
    mistakes += _unknown_names(document)
    try:
        scenario = Scenario.model_validate(fields)
    except ValidationError as error:
        unresolved = _RESOLVED.keys() - fields.keys()
        others = mistakes_of(error, Scenario, document, without=unresolved)
        raise all_of([*mistakes, *others]) from None
    mistakes += _misfits(scenario, document)
    if mistakes:
        raise all_of(mistakes)
    return scenario


def _prices(path: Path, economics: dict[str, Any]) -> tuple[Spec, ...]:
    wanted = [economics.get(name) for name in ("provider", "commitment")]
    if not all(isinstance(word, str | None) for word in wanted):
        return ()  # validation says so
    return read_prices(path, *wanted)


_READERS: dict[tuple[str, str], Callable[[Path, dict[str, Any]], tuple[Spec, ...]]] = {
    ("reliability", "replay"): lambda path, _: read_outages(path),
    ("economics", "price_series"): _prices,
}

_RESOLVED: dict[str, Callable[[Document], Any]] = {"model": model_of, "cluster": cluster_of}


def _pair_name(fields: dict[str, Any]) -> str:
    names = [getattr(fields.get(section), "name", section) for section in ("model", "cluster")]
    return spec_name("-on-".join(names))


def _with_defaults(job: Any, model: Any, cluster: Any) -> Any:
    """Return the job with what model and cluster imply where it says nothing.

    A model of short context is trained on sequences of that length; cores of a CPU run
    gloo-cpu.
    """
    if not isinstance(job, dict):
        return job
    implied: dict[str, Any] = {}
    if isinstance(model, ModelSpec):
        implied["sequence_length"] = min(model.max_positions, JobSpec().sequence_length)
    if isinstance(cluster, ClusterSpec) and cluster.scale_up.topology == "shared-memory":
        implied["software"] = "gloo-cpu"
    return implied | job


_NAMES: tuple[tuple[KeyPath, Callable[..., object]], ...] = (
    (("job", "software"), registry.find_software),
    (("reliability", "profile"), registry.find_failure_profile),
    (("economics", "grid"), registry.find_grid),
    (("target",), find_target),
)
"""Fields that hold the name of something else."""


def _unknown_names(document: Document) -> list[InputError]:
    mistakes: list[InputError] = []
    for path, find in _NAMES:
        name = document.part(path)
        try:
            if isinstance(name, str):
                find(name, where=document.where(path))
        except InputError as error:
            mistakes.append(error)
    return mistakes


def _misfits(scenario: Scenario, document: Document) -> list[InputError]:
    model, cluster, job = scenario.model, scenario.cluster, scenario.job
    device = cluster.device
    mistakes: list[InputError] = []

    def add(path: KeyPath, message: str, fix: str) -> None:
        mistakes.append(document.mistake(path, message, fix))

    if device.peak.of(job.precision) <= 0:
        known = [p for p in Precision if device.peak.of(p) > 0]
        add(
            ("job", "precision"),
            f"{device.name} has no {job.precision}",
            "use " + " or ".join(known),
        )
    if model.position == "learned" and job.sequence_length > model.max_positions:
        add(
            ("job", "sequence_length"),
            f"{job.sequence_length} exceeds the {model.max_positions} learned positions of "
            f"{model.name}",
            "shorten it, or set model.max_positions",
        )
    most = max(listed(scenario.limits.devices), default=0)
    if most > cluster.n_devices:
        add(
            ("limits", "devices"),
            f"{most} exceeds the {cluster.n_devices} devices of the cluster",
            "lower it, or enlarge the cluster",
        )
    return mistakes + _price_misfits(scenario, document)


def _price_misfits(scenario: Scenario, document: Document) -> list[InputError]:
    """Return what is wrong with the price list that a scenario names, if it names one."""
    economics, device = scenario.economics, scenario.cluster.device.name
    path: KeyPath = ("economics", "price")
    try:
        for position, offer in enumerate(economics.offers):
            path = ("economics", "offers", position, "device")
            registry.find_device(offer.device)
        path = ("economics", "price")
        if economics.price is None:
            return []
        offer = find_offer(economics, economics.price, where="")
    except InputError as error:
        return [document.mistake(path, error.message, error.fix)]
    if registry.find_device(offer.device).name == device:
        return []
    own = ", ".join(each.name for each in offers_of(economics, device))
    what = f"{offer.name} is a price of {offer.device}, not of {device}"
    return [document.mistake(path, what, f"use {own or 'usd_per_device_hour'}")]
