"""What can be named in a scenario: the kinds, their things, and figures that tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from planner.export import EXPORTERS
from simulator.catalog.layouts import LAYOUTS
from simulator.catalog.registry import (
    DEVICES,
    FABRICS,
    FAILURES,
    GRIDS,
    KINDS,
    MODELS,
    PRICES,
    SOFTWARE,
    Kind,
    find,
    list_names,
)
from simulator.catalog.scenario_file import load_scenario
from simulator.cost.parameters import ParameterCount, count_parameters
from simulator.spec.errors import unknown_name
from simulator.spec.model import ModelSpec
from simulator.spec.profiles import FailureProfile
from simulator.spec.scenario import Scenario
from simulator.spec.schedules import SCHEDULE_TRAITS
from simulator.spec.target import TARGETS
from simulator.spec.units import format_bandwidth, format_count, format_seconds

if TYPE_CHECKING:
    import pandas as pd

SCENARIO_FOLDER = Path("scenarios")

Column = tuple[str, Callable[[Any], str]]
"""Title of a column, and its cell for one thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One kind of thing that can be named."""

    kind: str
    what: str
    """What such a name is for."""
    things: Callable[[], dict[str, Any]]
    columns: tuple[Column, ...]
    """After the name."""
    note: str = ""
    """Units of the columns, where they do not say them."""

    def thing(self, name: str) -> Any:
        """Return one thing, by alias too where the catalog has it. Raises InputError."""
        if self.kind in KINDS:
            return find(KINDS[self.kind], name)
        things = self.things()
        if name not in things:
            raise unknown_name(self.kind.removesuffix("s"), name, things)
        return things[name]


@dataclass(frozen=True, slots=True)
class Listed:
    """Some things of a kind, by name."""

    listing: Listing
    things: dict[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per thing: all its fields, dotted where nested."""
        import pandas as pd

        rows = pd.json_normalize([as_data(thing) for thing in self.things.values()])
        return rows.set_axis(list(self.things), axis="index")


def listed(kind: str | None, name: str | None = None) -> Listed:
    """Return the kinds, all things of a kind, or one of them. Raises InputError with near names."""
    if kind is None:
        return Listed(_KINDS, dict(LISTINGS))
    if kind not in LISTINGS:
        raise unknown_name("kind", kind, LISTINGS)
    listing = LISTINGS[kind]
    return Listed(listing, listing.things() if name is None else {name: listing.thing(name)})


def as_data(thing: Any) -> dict[str, Any]:
    """Return a thing for JSON."""
    if isinstance(thing, Listing):
        return {"what": thing.what}
    if isinstance(thing, BaseModel):
        return thing.model_dump(mode="json")
    return asdict(thing, dict_factory=_without_functions)


def _without_functions(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {field: value for field, value in items if not callable(value)}


def _catalog(kind: Kind[Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {name: find(kind, name) for name in list_names(kind.folder)}


def _scenarios() -> dict[str, Scenario]:
    return {str(file): load_scenario(file) for file in sorted(SCENARIO_FOLDER.glob("*.yaml"))}


def _rate_basis(profile: FailureProfile) -> str:
    rate = "failures_per_device_day"
    return next((str(s.basis) for s in profile.sources if s.field == rate), "-")


def _parameters(total: Callable[[ParameterCount], int]) -> Callable[[ModelSpec], str]:
    return lambda model: format_count(total(count_parameters(model)))


def _tera(rate: float) -> str:
    tera = rate / 1e12
    return "-" if rate == 0 else f"{tera:.0f}" if tera >= 100 else f"{tera:.3g}"


LISTINGS: dict[str, Listing] = {
    listing.kind: listing
    for listing in (
        Listing(
            kind="devices",
            what="accelerators; cluster: NAME:COUNT",
            things=_catalog(DEVICES),
            columns=(
                ("GiB", lambda d: f"{d.memory_bytes / 2**30:.0f}"),
                ("TB/s", lambda d: f"{d.memory_bandwidth_bytes_per_s / 1e12:.3g}"),
                ("bf16", lambda d: _tera(d.peak.bf16_flops_per_s)),
                ("fp8", lambda d: _tera(d.peak.fp8_flops_per_s)),
                ("dom.", lambda d: f"{d.scale_up_domain_devices}"),
                ("GB/s", lambda d: f"{d.scale_up.bandwidth_bytes_per_s / 1e9:.3g}"),
                ("NIC", lambda d: f"{d.nic_bandwidth_bytes_per_s * 8 / 1e9:.3g}"),
                ("basis", lambda d: d.basis.value),
            ),
            note="bf16, fp8 in TFLOP/s; devices of a domain (dom.) are joined at GB/s; NIC in Gb/s",
        ),
        Listing(
            kind="models",
            what="architectures; model: NAME",
            things=_catalog(MODELS),
            columns=(
                ("parameters", _parameters(lambda c: c.total - c.mtp)),
                ("active", _parameters(lambda c: c.active - c.mtp_active)),
                ("layers", lambda m: f"{m.n_layers}"),
                ("hidden", lambda m: f"{m.hidden_size}"),
                ("heads", lambda m: f"{m.n_heads}/{m.n_kv_heads}"),
                ("context", lambda m: f"{m.max_positions}"),
            ),
        ),
        Listing(
            kind="fabrics",
            what="networks between nodes; cluster: {device: ..., fabric: NAME}",
            things=_catalog(FABRICS),
            columns=(
                ("kind", lambda f: f.kind),
                ("NIC", lambda f: format_bandwidth(f.nic.bandwidth_bytes_per_s)),
                ("a node", lambda f: f"{f.nics_per_node or 'all'}"),
                ("latency", lambda f: format_seconds(f.nic.latency_s)),
                ("pod", lambda f: f"{f.nodes_per_pod or 'all'}"),
                ("uplinks", lambda f: f"1:{f.oversubscription:g}"),
            ),
            note="NICs of a node are shared by its devices (all: one each); pod: nodes of one",
        ),
        Listing(
            kind="layouts",
            what="what other tools say of a cluster; cluster: DEVICE@NAME:FILE",
            things=lambda: dict(LAYOUTS),
            columns=(("", lambda kind: kind.what),),
        ),
        Listing(
            kind="software",
            what="software generations; job: {software: NAME}",
            things=_catalog(SOFTWARE),
            columns=(("", lambda s: s.description),),
        ),
        Listing(
            kind="failures",
            what="how often clusters fail; reliability: {profile: NAME}",
            things=_catalog(FAILURES),
            columns=(
                ("per device-day", lambda f: f"{f.failures_per_device_day:.3g}"),
                ("restart", lambda f: format_seconds(f.restart_s)),
                (
                    "checkpoint store",
                    lambda f: f"{f.checkpoint_write_bandwidth_bytes_per_s / 1e9:.4g} GB/s",
                ),
                ("basis", _rate_basis),
            ),
        ),
        Listing(
            kind="prices",
            what="dated prices; economics: {price: NAME}",
            things=_catalog(PRICES),
            columns=(
                ("device", lambda p: p.device),
                ("$/h", lambda p: f"{p.usd_per_device_hour:.2f}"),
                ("", lambda p: p.commitment),
                ("date", lambda p: p.date),
            ),
        ),
        Listing(
            kind="grids",
            what="carbon intensity; economics: {grid: NAME}",
            things=_catalog(GRIDS),
            columns=(
                ("kg CO2/kWh", lambda g: f"{g.kg_co2_per_kwh:.3f}"),
                ("date", lambda g: g.date or "-"),
                ("basis", lambda g: g.basis.value),
            ),
        ),
        Listing(
            kind="targets",
            what="what can run a plan; target: NAME",
            things=lambda: dict(TARGETS),
            columns=(
                ("", lambda t: t.description),
                ("ZeRO", lambda t: ",".join(map(str, t.zero_stages))),
                ("schedules", lambda t: ", ".join(t.all_schedules)),
            ),
        ),
        Listing(
            kind="exports",
            what="what a plan can be written as; export PLAN --to NAME",
            things=lambda: dict(EXPORTERS),
            columns=(
                ("", lambda e: e.description),
                ("run by", lambda e: e.executor),
            ),
        ),
        Listing(
            kind="schedules",
            what="pipeline schedules; limits: {schedule: NAME}",
            things=lambda: {str(name): each for name, each in SCHEDULE_TRAITS.items()},
            columns=(("", lambda s: s.description),),
        ),
        Listing(
            kind="scenarios",
            what=f"questions in the folder {SCENARIO_FOLDER}/",
            things=_scenarios,
            columns=(
                ("model", lambda s: s.model.name),
                ("devices", lambda s: f"{s.cluster.n_devices}"),
                ("device", lambda s: s.cluster.device.name),
            ),
        ),
    )
}

_KINDS = Listing(
    kind="kinds",
    what="what can be listed",
    things=lambda: dict(LISTINGS),
    columns=(("", lambda listing: listing.what),),
)
