"""One number of an answer, and how to explain it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.campaign.decided import decided
from simulator.campaign.terms import CampaignTerms, campaign_terms
from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Interval, Prediction
from simulator.spec.scenario import Scenario
from simulator.spec.units import Format

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One plan of one scenario, and what is predicted of it."""

    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction

    @property
    def cluster(self) -> ClusterSpec:
        """The cluster of the scenario."""
        return self.scenario.cluster

    @property
    def n_devices(self) -> int:
        """Devices of the nodes that hold ranks."""
        per_node = self.cluster.devices_per_node
        return -(-self.plan.n_ranks // per_node) * per_node

    @property
    def terms(self) -> CampaignTerms:
        """Failures, prices and power of the scenario, resolved."""
        return campaign_terms(decided(self.scenario, self.plan))


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that a number is made of."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """How to explain one number of a prediction."""

    name: str
    formula: str
    """In the names of the inputs."""
    value: Callable[[Case], float | None]
    """None where it is unknown."""
    form: Format
    interval: Callable[[Case], Interval | None] = lambda _: None
    """90 %; None where there is none."""
    interval_source: str = ""
    inputs: Callable[[Case], list[Input]]
    computed_by: Function
    """Its docstring says more and names the literature."""

    @property
    def meaning(self) -> str:
        """The docstring of the function that computes it, its parameters left out."""
        sections = (inspect.getdoc(self.computed_by) or "").split("\n\n")
        return "\n\n".join(part for part in sections if not part.startswith("Parameters\n"))


def place_of(function: Function) -> str:
    """Return file and name of a function, as one would look for it in the repository."""
    path = Path(*function.__module__.split(".")).with_suffix(".py")
    return f"{path}: {function.__name__}"


def device_source(cluster: ClusterSpec, field: str) -> str:
    """Return where a field of the device comes from, its basis first."""
    for source in cluster.device.sources:
        if source.field == field:
            date = f" ({source.date})" if source.date else ""
            return f"{source.basis}: {source.source}{date}"
    return f"device {cluster.device.name}"
