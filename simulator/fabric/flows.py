"""Flows that share links: routes, max-min fair rates, and when each flow is done.

Flows are fluids: no packets, no queues. A flow takes all routes of least cost at once, split
evenly wherever they part, and the flows of a full link get equal parts of it, except those that
are held up elsewhere.

References
----------
.. [1] Bertsekas, Gallager, "Data Networks", 2nd ed., section 6.5.2: max-min fair flow control by
   progressive filling.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy import sparse

if TYPE_CHECKING:
    Graph = nx.Graph[str]

FloatArray = npt.NDArray[np.float64]
Hop = tuple[str, str]

_FULL = 1e-9
"""Relative rest below which a link counts as full and a flow as done."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes from one device to another."""

    source: str
    target: str
    size_bytes: float


@dataclass(frozen=True, slots=True)
class Routes:
    """Where flows go in a graph."""

    graph: Graph
    _distances: dict[str, dict[str, float]] = field(default_factory=dict)
    _shares: dict[Hop, dict[Hop, float]] = field(default_factory=dict)

    def shares(self, source: str, target: str) -> dict[Hop, float]:
        """Return the share of a flow that takes each hop, over all routes of least cost."""
        if (source, target) not in self._shares:
            self._shares[source, target] = self._spread(source, target)
        return self._shares[source, target]

    def _spread(self, source: str, target: str) -> dict[Hop, float]:
        if target not in self._distances:
            lengths = nx.single_source_dijkstra_path_length(self.graph, target, weight="cost")
            self._distances[target] = dict(lengths)
        left = self._distances[target]
        arriving: dict[str, float] = defaultdict(float, {source: 1.0})
        hops: dict[Hop, float] = {}
        reached = {source}
        while reached:
            here = max(reached, key=lambda name: (left[name], name))
            reached.remove(here)
            if here == target:
                continue
            ways = [
                there
                for there, link in self.graph[here].items()
                if left[there] + link["cost"] == left[here]
            ]
            for there in ways:
                hops[here, there] = arriving[here] / len(ways)
                arriving[there] += hops[here, there]
                reached.add(there)
        return hops

    def latency_s(self, source: str, target: str) -> float:
        """Return the latency from one device to another, in s, on average over the routes."""
        return sum(
            share * float(self.graph[end][other]["latency_s"])
            for (end, other), share in self.shares(source, target).items()
        )


def max_min_rates(usage: sparse.csr_matrix, capacity: FloatArray) -> FloatArray:
    """Rates of flows that share links fairly, by progressive filling [1]_.

    Parameters
    ----------
    usage
        Share of each flow (column) that each link (row) carries.
    capacity
        Bandwidth of each link, in bytes/s.
    """
    rates = np.zeros(usage.shape[1])
    growing = np.ones(usage.shape[1], dtype=bool)
    free = capacity.astype(float)
    while growing.any():
        load = usage @ growing.astype(float)
        used = load > 0
        step = float(np.min(free[used] / load[used]))
        rates[growing] += step
        free -= step * load
        full = used & (free <= _FULL * capacity)
        growing &= ~(usage.T @ full.astype(float) > 0)
    return rates


def finish_times_s(routes: Routes, flows: Sequence[Flow]) -> FloatArray:
    """Time at which each of some flows that start together has sent its bytes, in s.

    Whenever a flow ends, the others share what it leaves. Latency is not included.
    """
    remaining = np.array([flow.size_bytes for flow in flows], dtype=float)
    open_ = remaining > 0
    usage, capacity = _link_usage(routes, flows)
    finish = np.zeros(len(flows))
    now = 0.0
    while open_.any():
        rates = max_min_rates(usage[:, open_], capacity)
        step = float(np.min(remaining[open_] / rates))
        now += step
        remaining[open_] -= step * rates
        done = open_ & (remaining <= _FULL * np.array([flow.size_bytes for flow in flows]))
        finish[done] = now
        open_ &= ~done
    return finish


def _link_usage(routes: Routes, flows: Sequence[Flow]) -> tuple[sparse.csr_matrix, FloatArray]:
    """Links × flows: the share of each flow on each link, and the links' bandwidths in bytes/s."""
    rows: dict[Hop, int] = {}
    entries: list[tuple[int, int, float]] = []
    for column, flow in enumerate(flows):
        assert flow.source != flow.target, flow
        for hop, share in routes.shares(flow.source, flow.target).items():
            entries.append((rows.setdefault(hop, len(rows)), column, share))
    row, column_of, share_of = (np.array(values) for values in zip(*entries, strict=True))
    usage = sparse.csr_matrix((share_of, (row, column_of)), shape=(len(rows), len(flows)))
    capacity = [routes.graph[end][other]["bandwidth_bytes_per_s"] for end, other in rows]
    return usage, np.array(capacity, dtype=float)
