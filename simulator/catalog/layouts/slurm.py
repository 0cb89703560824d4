"""Slurm's topology.conf: switches and the nodes below them, or blocks of nodes.

References: the topology.conf manual of Slurm, plugins topology/tree and topology/block. It says
nothing of bandwidth: LinkSpeed is arbitrary there, and not read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from simulator.catalog.layouts.hostlist import expand
from simulator.catalog.layouts.layout import Layout
from simulator.spec.errors import InputError

Line = tuple[str, dict[str, str]]
"""Its place, and its values by lower-case name."""


def read_topology_conf(text: str, name: str) -> Layout:
    """Return the layout of a topology.conf. Raises InputError with `name:line`."""
    lines = list(_lines(text, name))
    blocks = [line for line in lines if "blockname" in line[1]]
    if blocks:
        return _blocks(blocks)
    switches = [line for line in lines if "switchname" in line[1]]
    if not switches:
        raise InputError(
            "names neither switches nor blocks",
            where=name,
            fix="give Slurm's topology.conf of plugin topology/tree or topology/block",
        )
    return _tree(switches)


def _lines(text: str, name: str) -> Iterator[Line]:
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        where = f"{name}:{number}"
        values = {}
        for word in words:
            key, separator, value = word.partition("=")
            if not separator or not value:
                raise InputError(f"{word!r:.60} is not Name=value", where=where)
            values[key.lower()] = value
        yield where, values


def _tree(switches: list[Line]) -> Layout:
    """Group the nodes by the leaf switches that they hang on: several where they have rails."""
    names = {values["switchname"] for _, values in switches}
    leaves: dict[str, set[str]] = defaultdict(set)
    below: set[str] = set()
    for where, values in switches:
        for node in expand(values["nodes"], where=where) if "nodes" in values else ():
            leaves[node].add(values["switchname"])
        children = expand(values["switches"], where=where) if "switches" in values else []
        for child in children:
            if child not in names:
                raise InputError(f"switch {child!r:.60} is not described", where=where)
        below.update(children)
    tops = sorted(names - below)
    groups = Counter(frozenset(switches) for switches in leaves.values())
    if not leaves:
        raise InputError("no switch has nodes", where=switches[0][0])
    if len(tops) > 1 and len(groups) > 1:
        raise InputError(
            f"no switch joins {' and '.join(tops[:4])}",
            where=switches[0][0],
            fix="describe parts that nothing joins as clusters of their own",
        )
    return Layout(nodes=len(leaves), nodes_per_pod=_usual(groups))


def _blocks(blocks: list[Line]) -> Layout:
    sizes: dict[str, int] = {}
    nodes: set[str] = set()
    for where, values in blocks:
        if "nodes" not in values:
            raise InputError("a block without Nodes=", where=where)
        members = expand(values["nodes"], where=where)
        nodes.update(members)
        sizes[values["blockname"]] = len(members)
    return Layout(nodes=len(nodes), nodes_per_block=_usual(Counter(sizes)) or len(nodes))


def _usual(sizes: Counter[frozenset[str]] | Counter[str]) -> int | None:
    """Return the size that most groups have, the smaller of two; None where there is one group."""
    if len(sizes) < 2:
        return None
    counted = Counter(sizes.values())
    return min(counted, key=lambda size: (-counted[size], size))
