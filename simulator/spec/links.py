"""What can be said of the links between devices: levels, algorithms, faults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.units import Count

LevelName = Literal["scale-up", "scale-out", "pods", "regions"]
"""Kinds of links by what they join, innermost first."""
AlgorithmName = Literal["ring", "tree", "hierarchical", "recursive-doubling"]

ProtocolName = Literal["ll", "ll128", "simple"]
"""How collectives hand data on: in words of 8 bytes with a flag each (LL), in lines of 128 bytes
with one (LL128), or in large chunks with a fence (Simple)."""

LinkModel = Literal["levels", "flows"]


class LinkFault(Spec):
    """A link that carries less than it should; every job is taken to use it."""

    level: LevelName
    """Which link: the device's own to its domain, its network interface, or the uplink of its pod
    or region."""
    device: Count = Field(default=0, ge=0)
    """Number of a device behind the link, counted through the cluster from 0."""
    remaining: float = Field(ge=0, lt=1)
    """Share of the bandwidth that is left; 0, a dead link, only where others take over: one of
    several network interfaces of a node."""
