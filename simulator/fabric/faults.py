"""Links that are slow or gone: an input of the flow simulation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.fabric.topology import check_graph
from simulator.spec.errors import InputError, unknown_name

if TYPE_CHECKING:
    import networkx as nx

    Graph = nx.Graph[str]


@dataclass(frozen=True, slots=True)
class LinkFault:
    """A link that carries less than it should, in both directions."""

    end: str
    other: str
    remaining: float = 0.0
    """Share of the bandwidth that is left; 0 means the link is gone."""


def with_faults(graph: Graph, faults: Iterable[LinkFault]) -> Graph:
    """Return a copy of a graph with some links degraded or removed; traffic finds its way around.

    Raises
    ------
    InputError
        For a link that is not in the graph, a share outside 0 to 1, or a device cut off.
    """
    result = graph.copy()
    for fault in faults:
        place = f"fault of link {fault.end} -- {fault.other}"
        for name in (fault.end, fault.other):
            if name not in graph:
                raise unknown_name("device or switch", name, graph, where=place)
        if not result.has_edge(fault.end, fault.other):
            raise InputError(
                "there is no such link",
                where=place,
                fix=f"{fault.end} is joined to {', '.join(sorted(graph[fault.end])[:8])}",
            )
        if not 0 <= fault.remaining < 1:
            raise InputError(
                f"remaining={fault.remaining} of its bandwidth", where=place, fix="use 0 to below 1"
            )
        if fault.remaining == 0:
            result.remove_edge(fault.end, fault.other)
        else:
            result[fault.end][fault.other]["bandwidth_bytes_per_s"] *= fault.remaining
    check_graph(result)
    return result
