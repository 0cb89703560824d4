"""A job that goes on while nodes are missing: with fewer copies, or with the groups that are whole.

The number of nodes in repair is a birth-death process: it grows at the rate at which the nodes that
run fail, and every node in repair comes back after its own repair time. Its stationary distribution
depends on the repair time by its mean only.

References
----------
L. Kleinrock, "Queueing Systems I" (1975), section 3.2 (birth-death equilibrium); insensitivity of
infinite-server systems with state-dependent arrivals: F. P. Kelly, "Reversibility and Stochastic
Networks" (1979), section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray
from simulator.cost.unique import Rows, distinct_rows

_TAIL = 8.0
"""States further than this many deviations above the mean are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialService:
    """What missing nodes leave of n jobs; arrays have shape (n,)."""

    speed: FloatArray
    """Mean share of the copies that run, over the time in which one does."""
    stopped: FloatArray
    """Share of the time in which none does."""
    regrowths_per_s: FloatArray
    """How often copies are taken in again."""


def shrinking_service(
    n_nodes: npt.ArrayLike,
    n_copies: npt.ArrayLike,
    n_spares: npt.ArrayLike,
    *,
    failures_per_node_s: float,
    repair_s: float,
) -> PartialService:
    """Return what is left of jobs that go on with as many whole copies as nodes allow."""
    (nodes, copies, spares), row = _distinct(n_nodes, n_copies, n_spares)
    down = _states(nodes, failures_per_node_s * repair_s, spares)
    per_copy = nodes / copies
    running = np.floor((nodes + spares - down) / per_copy * (1 + 1e-12))
    running = np.clip(running, 0.0, copies)
    share = _stationary(running * per_copy * failures_per_node_s * repair_s, down)
    back = share[:, 1:] * down[:, 1:] / repair_s * (running[:, :-1] > running[:, 1:])
    stopped = (share * (running == 0)).sum(axis=1)
    speed = (share * running).sum(axis=1) / copies[:, 0]
    return PartialService(
        speed=(speed / np.maximum(1 - stopped, 1e-300))[row],
        stopped=stopped[row],
        regrowths_per_s=back.sum(axis=1)[row],
    )


def isolated_service(
    n_nodes: npt.ArrayLike,
    n_groups: npt.ArrayLike,
    n_spares: npt.ArrayLike,
    *,
    failures_per_node_s: float,
    repair_s: float,
) -> PartialService:
    """Return what is left of jobs in which each missing node takes its own group away."""
    (nodes, groups, spares), row = _distinct(n_nodes, n_groups, n_spares)
    down = _states(nodes, failures_per_node_s * repair_s, spares)
    missing = np.clip(down - spares, 0.0, nodes)
    share = _stationary((nodes - missing) * failures_per_node_s * repair_s, down)
    # Missing nodes are spread at random: a group is whole where none of them fell into it.
    whole = (1 - 1 / groups) ** missing
    return PartialService(
        speed=(share * whole).sum(axis=1)[row],
        stopped=np.zeros(len(row)),
        regrowths_per_s=np.zeros(len(row)),
    )


def _distinct(*values: npt.ArrayLike) -> tuple[list[FloatArray], Rows]:
    """Return the distinct jobs as columns, and which of them each job is."""
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in values))
    first, row = distinct_rows([column.astype(np.int64) for column in columns], columns[0].size)
    return [column[first][:, None] for column in columns], row


def _states(nodes: FloatArray, load_per_node: float, spares: FloatArray) -> FloatArray:
    """Return the numbers of nodes in repair that matter, as one row."""
    load = float(np.max(nodes)) * load_per_node
    most = load + _TAIL * np.sqrt(load) + 8
    return np.arange(min(most, float(np.max(nodes + spares))) + 1)[None, :]


def _stationary(load: FloatArray, down: FloatArray) -> FloatArray:
    """Return the share of time in each state; `load` is arrivals in a repair time, by state."""
    with np.errstate(divide="ignore"):
        steps = np.log(load[:, :-1]) - np.log(down[:, 1:])
    log_weight = np.concatenate([np.zeros((len(load), 1)), np.cumsum(steps, axis=1)], axis=1)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
