"""Nodes in repair as a birth-death process, and what they leave of a job.

The number of nodes in repair grows at the rate at which the nodes that run fail, hot spares among
them, and falls at the rate of the crews that work. Where there are crews enough its stationary
distribution depends on the repair time by its mean only; where they are few, repairs are taken as
exponential.

References
----------
L. Kleinrock, "Queueing Systems I" (1975), section 3.2 (birth-death equilibrium) and 3.8 (finite
populations, m servers); insensitivity of infinite-server systems with state-dependent arrivals:
F. P. Kelly, "Reversibility and Stochastic Networks" (1979), section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from simulator.campaign.shapes import BestOnFewer
from simulator.cost.plan_table import FloatArray
from simulator.cost.unique import Rows, distinct_rows, spread

_TAIL = 8.0
"""States further than this many deviations above the mean are left out."""
_RARE = 1e-6
"""Share of the time below which a state is not worth a plan of its own."""
_MOST_PLANS = 12
"""New plans that are asked for; numbers of nodes between two of them make do with the lower one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """How nodes fail and are repaired."""

    failures_per_node_s: float
    repair_s: float
    n_crews: float = inf
    """Nodes that are repaired at once."""
    n_hot: float = 0.0
    """Spares that fail like the nodes that hold ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialService:
    """What missing nodes leave of n jobs; arrays have shape (n,)."""

    speed: FloatArray
    """Mean share of the nodes of the whole job that run, over the time in which some do."""
    stopped: FloatArray
    """Share of the time in which none does."""
    regrowths_per_s: FloatArray
    """How often nodes are taken in again by starting anew."""
    in_repair: FloatArray
    """Mean number of nodes in repair."""
    efficiency: FloatArray
    """Speed over what the nodes that run would do in the whole job."""


def waiting_service(
    n_nodes: npt.ArrayLike, n_spares: npt.ArrayLike, upkeep: Upkeep
) -> PartialService:
    """Return what is left of jobs that stand still while one node more is away than is spare."""
    (nodes, spares), row = _distinct(n_nodes, n_spares)
    down = np.arange(float(spares.max()) + 2)[None, :]
    running = np.where(down <= spares, nodes, 0.0)
    return spread(_resized(running, nodes, spares, down, upkeep), row)


def shrinking_service(
    n_nodes: npt.ArrayLike, n_copies: npt.ArrayLike, n_spares: npt.ArrayLike, upkeep: Upkeep
) -> PartialService:
    """Return what is left of jobs that go on with as many whole copies as nodes allow."""
    (nodes, copies, spares), row = _distinct(n_nodes, n_copies, n_spares)
    down = _states(nodes, spares, upkeep)
    per_copy = nodes / copies
    running = np.floor((nodes + spares - down) / per_copy * (1 + 1e-12))
    running = np.clip(running, 0.0, copies) * per_copy
    return spread(_resized(running, nodes, spares, down, upkeep), row)


def replanned_service(
    n_nodes: npt.ArrayLike,
    n_spares: npt.ArrayLike,
    upkeep: Upkeep,
    *,
    best: BestOnFewer | None,
) -> PartialService:
    """Return what is left of jobs that are planned anew whenever nodes are missing.

    `best` is the best plan on so many nodes, of jobs that are of one size; it is asked about some
    of those that happen. Without it every node that is left does as much as before: no plan does
    more.
    """
    (nodes, spares), row = _distinct(n_nodes, n_spares)
    down = _states(nodes, spares, upkeep)
    left = np.clip(nodes + spares - down, 0.0, nodes)
    if best is None:
        return spread(_resized(left, nodes, spares, down, upkeep), row)
    share, _ = _stationary(left, nodes, spares, down, upkeep)
    whole = best(int(nodes.max()))
    assert whole is not None, "the whole job runs"
    efficiency = np.ones_like(left)
    used = left.copy()
    counts = np.unique(left[share > _RARE])
    asked = counts[:: -(-len(counts) // _MOST_PLANS)]
    for count in counts:
        there = count if count == counts[-1] else asked[asked <= count][-1]
        shape = best(int(there))
        used[left == count] = 0 if shape is None else shape.n_nodes
        if shape is not None:
            speed = min(1.0, whole.step_s / shape.step_s)
            efficiency[left == count] = speed * whole.n_nodes / shape.n_nodes
    return spread(_resized(used, nodes, spares, down, upkeep, efficiency=efficiency), row)


def isolated_service(
    n_nodes: npt.ArrayLike, n_groups: npt.ArrayLike, n_spares: npt.ArrayLike, upkeep: Upkeep
) -> PartialService:
    """Return what is left of jobs in which each missing node takes its own group away."""
    (nodes, groups, spares), row = _distinct(n_nodes, n_groups, n_spares)
    down = _states(nodes, spares, upkeep)
    missing = np.clip(down - spares, 0.0, nodes)
    share, in_repair = _stationary(nodes - missing, nodes, spares, down, upkeep)
    # Missing nodes are spread at random: a group is whole where none of them fell into it.
    whole = (1 - 1 / groups) ** missing
    none = np.zeros(len(nodes))
    service = PartialService(
        speed=(share * whole).sum(axis=1),
        stopped=none,
        regrowths_per_s=none,
        in_repair=in_repair,
        efficiency=none + 1,
    )
    return spread(service, row)


def _resized(
    used: FloatArray,
    nodes: FloatArray,
    spares: FloatArray,
    down: FloatArray,
    upkeep: Upkeep,
    *,
    efficiency: FloatArray | None = None,
) -> PartialService:
    """Return what is left of jobs that use so many nodes, by the number of nodes in repair."""
    share, in_repair = _stationary(used, nodes, spares, down, upkeep)
    returns = share[:, 1:] * np.minimum(down[:, 1:], upkeep.n_crews) / upkeep.repair_s
    # One that stands still starts anyway, and that restart is the failure's.
    grows = (used[:, :-1] > used[:, 1:]) & (used[:, 1:] > 0)
    stopped = (share * (used == 0)).sum(axis=1)
    busy = (share * used).sum(axis=1)
    done = busy if efficiency is None else (share * used * efficiency).sum(axis=1)
    return PartialService(
        speed=busy / nodes[:, 0] / np.maximum(1 - stopped, 1e-300),
        stopped=stopped,
        regrowths_per_s=(returns * grows).sum(axis=1),
        in_repair=in_repair,
        efficiency=np.where(busy > 0, done / np.where(busy > 0, busy, 1.0), 1.0),
    )


def _distinct(*values: npt.ArrayLike) -> tuple[list[FloatArray], Rows]:
    """Return the distinct jobs as columns, and which of them each job is."""
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in values))
    first, row = distinct_rows([column.astype(np.int64) for column in columns], columns[0].size)
    return [column[first][:, None] for column in columns], row


def _states(nodes: FloatArray, spares: FloatArray, upkeep: Upkeep) -> FloatArray:
    """Return the numbers of nodes in repair that matter, as one row."""
    hot = min(upkeep.n_hot, float(np.max(spares)))
    load = (float(np.max(nodes)) + hot) * upkeep.failures_per_node_s * upkeep.repair_s
    most = load + _TAIL * np.sqrt(load) + 8
    if upkeep.n_crews < most:  # nodes queue for a crew
        most = inf
    return np.arange(min(most, float(np.max(nodes + spares))) + 1)[None, :]


def _stationary(
    used: FloatArray, nodes: FloatArray, spares: FloatArray, down: FloatArray, upkeep: Upkeep
) -> tuple[FloatArray, FloatArray]:
    """Return the share of time in each state, and the mean number of nodes in repair.

    Nodes that hold ranks fail, and hot spares among the others; nothing does while the job stands
    still.
    """
    hot = np.clip(nodes + spares - down - used, 0.0, upkeep.n_hot)
    load = np.where(used > 0, used + hot, 0.0) * upkeep.failures_per_node_s * upkeep.repair_s
    with np.errstate(divide="ignore"):
        steps = np.log(load[:, :-1]) - np.log(np.minimum(down[:, 1:], upkeep.n_crews))
    log_weight = np.concatenate([np.zeros((len(load), 1)), np.cumsum(steps, axis=1)], axis=1)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    share = np.asarray(weight / weight.sum(axis=1, keepdims=True))
    return share, (share * down).sum(axis=1)
