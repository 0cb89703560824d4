"""The catalog with other constants: while they are fitted, and with a source left out.

`constants.csv` holds every fitted constant: what was expected, the value in the catalog, and the
values fitted without one source at a time. `scripts/fit.py` writes it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from simulator.catalog import find_device, find_fabric, find_software
from simulator.cost.plan_table import FloatArray
from simulator.spec.cluster import ClusterSpec, DeviceSpec
from simulator.spec.profiles import SoftwareProfile
from simulator.validate.express import Case
from simulator.validate.free_constants import PARAMETERS, Kind, Parameter

STORED = Path(__file__).with_name("constants.csv")
FITTED = "fitted"
"""The column of constants.csv that the catalog holds; others are named by the source left out."""

Values = Mapping[str, float]
"""Constants by the label of their parameter."""


@dataclass(frozen=True, slots=True)
class Constants:
    """Values that stand in for those of the catalog."""

    fields: Mapping[tuple[Kind, str], Mapping[str, float]]
    clusters: dict[int, tuple[ClusterSpec, ClusterSpec]] = field(default_factory=dict)
    """By the identity of a cluster: itself, so that the identity stays its own, and it changed."""
    profiles: dict[str, SoftwareProfile] = field(default_factory=dict)

    @classmethod
    def of(cls, parameters: Sequence[Parameter], values: Sequence[float] | FloatArray) -> Self:
        """Return the constants behind the values of some parameters."""
        fields: dict[tuple[Kind, str], dict[str, float]] = {}
        for parameter, value in zip(parameters, values, strict=True):
            for name in parameter.names:
                fields.setdefault((parameter.kind, name), {})[parameter.field] = float(value)
        return cls(fields)

    def changed(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases with the constants of their clusters; one object for one object."""
        return [replace(case, cluster=self._cluster(case.cluster)) for case in cases]

    def find_software(self, name: str) -> SoftwareProfile:
        """Return a software profile with its constants."""
        if name not in self.profiles:
            profile = find_software(name)
            own = dict(self.fields.get(("software", name), {}))
            overlap = {
                each.removeprefix("overlap."): own.pop(each)
                for each in list(own)
                if each.startswith("overlap.")
            }
            shares = profile.overlap.model_copy(update=overlap)
            self.profiles[name] = profile.model_copy(update={**own, "overlap": shares})
        return self.profiles[name]

    def _cluster(self, cluster: ClusterSpec) -> ClusterSpec:
        if id(cluster) not in self.clusters:
            name = cluster.device.name
            nic = cluster.fabric.nic.model_copy(update=self._own("fabric", cluster.fabric.name))
            link = cluster.scale_up.model_copy(update=self._own("scale-up", name))
            update = {
                "device": self._device(cluster.device),
                "fabric": cluster.fabric.model_copy(update={"nic": nic}),
                "scale_up": link,
            }
            self.clusters[id(cluster)] = cluster, cluster.model_copy(update=update)
        return self.clusters[id(cluster)][1]

    def _device(self, device: DeviceSpec) -> DeviceSpec:
        own = self._own("device", device.name)
        return device.model_copy(update={"efficiency": device.efficiency.model_copy(update=own)})

    def _own(self, kind: Kind, name: str) -> dict[str, float]:
        return dict(self.fields.get((kind, name), {}))


def stored_constants() -> dict[str, Constants]:
    """Return the stored constants by column: `fitted`, and every source that was left out."""
    columns = stored_values()
    return {
        column: Constants.of(PARAMETERS, [values[each.label] for each in PARAMETERS])
        for column, values in columns.items()
    }


def stored_values() -> dict[str, dict[str, float]]:
    """Return the values of constants.csv by column and label."""
    with STORED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    columns = [name for name in rows[0] if name not in ("constant", "expected", "width")]
    return {name: {row["constant"]: float(row[name]) for row in rows} for name in columns}


def catalog_value(parameter: Parameter, name: str) -> float:
    """Return what the catalog holds for a parameter in one of its entries."""
    holder: object
    match parameter.kind:
        case "device":
            holder = find_device(name).efficiency
        case "scale-up":
            holder = find_device(name).scale_up
        case "fabric":
            holder = find_fabric(name).nic
        case "software":
            holder = find_software(name)
    for part in parameter.field.split("."):
        holder = getattr(holder, part)
    return float(holder)  # type: ignore[arg-type]


def constants_table(columns: Mapping[str, Values]) -> str:
    """Return constants.csv with these columns."""
    lines = [
        "# Constants fitted to published runs; written by scripts/fit.py, which says how.",
        ",".join(["constant", "expected", "width", *columns]),
    ]
    for each in PARAMETERS:
        values = [column[each.label] for column in columns.values()]
        numbers = [each.prior, each.width, *values]
        lines.append(",".join([each.label, *(f"{number:.3g}" for number in numbers)]))
    return "\n".join(lines) + "\n"
