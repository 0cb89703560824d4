"""How long a collective takes, in s, for every group of a plan table.

The message is the full one: what every rank holds after an all-gather or all-reduce, or before a
reduce-scatter; for all-to-all, what one rank hands out, its own share included. Unless the cluster
names one, the algorithm is the fastest of those that NCCL chooses from: ring, and for all-reduce
also tree. Collectives that were measured on the cluster win over the model for groups inside one
scale-up domain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simulator.cost.algorithms import (
    Algorithm,
    Line,
    doubling_pass,
    hierarchical_pass,
    in_network,
    neighbour_transfer,
    pairwise_exchange,
    ring_pass,
    ring_reduction,
    tree,
    twice,
)
from simulator.cost.groups import Group
from simulator.cost.measured import measured_line
from simulator.cost.plan_table import FloatArray
from simulator.spec.cluster import CollectiveName
from simulator.spec.links import AlgorithmName

PASSES: Mapping[AlgorithmName, Algorithm] = {
    "ring": ring_pass,
    "hierarchical": hierarchical_pass,
    "recursive-doubling": doubling_pass,
}
"""All-gather and reduce-scatter."""

REDUCTIONS: Mapping[AlgorithmName, Algorithm] = {
    "ring": ring_reduction,
    "tree": lambda group: [*tree(group), *in_network(group)],
    "hierarchical": twice(hierarchical_pass),
    "recursive-doubling": twice(doubling_pass),
}
"""All-reduce."""

AUTOMATIC: tuple[AlgorithmName, ...] = ("ring", "tree")
"""What is chosen from where no algorithm is named, or the named one does not do it."""


def all_reduce_s(message_bytes: FloatArray | float, group: Group) -> FloatArray:
    """Time until every rank holds the sum of all messages, in s."""
    return _time("all-reduce", message_bytes, group, _candidates(REDUCTIONS, group))


def all_gather_s(message_bytes: FloatArray | float, group: Group) -> FloatArray:
    """Time until every rank holds all shards of the message, in s."""
    return _time("all-gather", message_bytes, group, _candidates(PASSES, group))


def reduce_scatter_s(message_bytes: FloatArray | float, group: Group) -> FloatArray:
    """Time until every rank holds its shard of the sum, in s."""
    return _time("reduce-scatter", message_bytes, group, _candidates(PASSES, group))


def all_to_all_s(
    message_bytes: FloatArray | float,
    group: Group,
    copies_per_token: int = 1,
    most_domains: int = 0,
) -> FloatArray:
    """Time until every rank has sent each other rank its part of the message, in s.

    With several copies per token (experts per token, all counted in the message) a token goes to
    another scale-up domain once, however many of its copies end there, and is copied inside; with
    `most_domains` the routing keeps it to so many of them.
    """
    line = pairwise_exchange(group, copies_per_token, most_domains)
    return _time("all-to-all", message_bytes, group, [line])


def p2p_s(message_bytes: FloatArray | float, group: Group) -> FloatArray:
    """Time of one message to the next rank of the group, all ranks sending at once, in s."""
    return _time("p2p", message_bytes, group, [neighbour_transfer(group)])


def _candidates(algorithms: Mapping[AlgorithmName, Algorithm], group: Group) -> list[Line]:
    named = group.algorithm
    names = AUTOMATIC if named is None or named not in algorithms else (named,)
    return [line for name in names if name in algorithms for line in algorithms[name](group)]


def _time(
    operation: CollectiveName, message_bytes: FloatArray | float, group: Group, lines: list[Line]
) -> FloatArray:
    times = np.minimum.reduce([line.time_s(message_bytes) for line in lines])
    measured = measured_line(operation, group)
    if measured is not None:
        times = np.where(group.n_domains == 1, measured.time_s(message_bytes), times)
    return np.where(group.size > 1, times, 0.0)
