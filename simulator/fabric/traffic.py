"""Collectives as flows over the graph, to see what the closed form cannot: contention, faults.

A collective is a sequence of phases; the flows of a phase start together and the next phase waits
for them. All groups that work at the same time (every tensor-parallel group of the cluster, say)
are given at once, since they share links.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from simulator.fabric.flows import Flow, Routes, finish_times_s

Members = Sequence[str]
"""Devices of a group, in the order of their ranks."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Flows that start together, and the latency that they wait for besides."""

    flows: tuple[Flow, ...]
    latency_s: float


def time_s(routes: Routes, phases: Iterable[Phase]) -> float:
    """Time of some phases one after the other, in s."""
    return sum(
        float(finish_times_s(routes, phase.flows).max(initial=0.0)) + phase.latency_s
        for phase in phases
    )


def ring_pass(routes: Routes, groups: Sequence[Members], message_bytes: float) -> list[Phase]:
    """All-gather or reduce-scatter by rings through all members: one phase.

    As many rings as members in a scale-up domain, each leaving it from another member, and each in
    both directions.
    """
    flows: list[Flow] = []
    latency_s = 0.0
    for members in groups:
        if len(members) == 1:
            continue
        rings = [*_rings(_blocks(routes, members, "domain"))]
        part = message_bytes * (len(members) - 1) / len(members) / len(rings)
        for ring in rings:
            hops = [*itertools.pairwise([*ring, ring[0]])]
            flows += [Flow(source, target, part) for source, target in hops]
            turn = sum(routes.latency_s(source, target) for source, target in hops)
            latency_s = max(latency_s, turn * (len(ring) - 1) / len(ring))
    return [Phase(tuple(flows), latency_s)] if flows else []


def hierarchical_pass(
    routes: Routes, groups: Sequence[Members], message_bytes: float
) -> list[Phase]:
    """All-gather or reduce-scatter domain by domain, then across domains, pods and regions."""
    phases: list[Phase] = []
    for level in ("domain", "pod", "region", "cluster"):
        blocks = [_blocks(routes, members, level) for members in groups]
        phases += ring_pass(routes, [*itertools.chain(*blocks)], message_bytes)
        groups = [[*across] for parts in blocks for across in zip(*parts, strict=True)]
        message_bytes /= len(blocks[0][0])
    return phases


def all_to_all(routes: Routes, groups: Sequence[Members], message_bytes: float) -> list[Phase]:
    """All-to-all, or an all-gather sent directly: every member to every other, in one phase."""
    flows = [
        Flow(source, target, message_bytes / len(members))
        for members in groups
        for source, target in itertools.permutations(members, 2)
    ]
    pairs = {(flow.source, flow.target) for flow in flows}
    latency_s = max((routes.latency_s(source, target) for source, target in pairs), default=0.0)
    return [Phase(tuple(flows), latency_s)]


def shift(routes: Routes, groups: Sequence[Members], message_bytes: float) -> list[Phase]:
    """Point to point: every member but the last to the next one, in one phase."""
    hops = [hop for members in groups for hop in itertools.pairwise(members)]
    flows = tuple(Flow(source, target, message_bytes) for source, target in hops)
    return [Phase(flows, max((routes.latency_s(*hop) for hop in hops), default=0.0))]


def _blocks(routes: Routes, members: Members, level: str) -> list[list[str]]:
    """Members of the same domain, pod or region together, in their order."""
    blocks: dict[object, list[str]] = {}
    for name in members:
        blocks.setdefault(routes.graph.nodes[name].get(level), []).append(name)
    return [*blocks.values()]


def _rings(blocks: list[list[str]]) -> Iterator[list[str]]:
    """One ring per member of the smallest block, in both directions.

    A ring that enters a block at one rail leaves it at the rail before, and runs through the next
    block the other way around, so that it stays on its rail between two blocks.
    """
    for start in range(min(len(block) for block in blocks)):
        turned = [[*block[start:], *block[:start]] for block in blocks]
        ring = [
            name
            for index, block in enumerate(turned)
            for name in (block[::-1] if index % 2 else block)
        ]
        yield ring
        if len(ring) > 2:  # both directions of a ring of two are the same
            yield ring[::-1]
