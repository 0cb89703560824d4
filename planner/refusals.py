"""Which rules and limits refuse how many meshes of a space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.changes import limits_set
from planner.limits import allows
from planner.space import Space
from simulator.cost.plan_table import BoolArray, PlanTable
from simulator.spec.legality import RULES

OF_A_MESH = ("tp", "pp", "cp", "ep", "dp", "microbatch_sequences", "n_microbatches")
"""Limits that a mesh with its microbatch keeps or not."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason, and how many meshes it refuses, whatever other reasons do."""

    n_meshes: int
    reason: str


def refused_meshes(space: Space) -> tuple[int, list[Refusal]]:
    """Return how many meshes with a microbatch there are, and who refuses them, most first."""
    table = space.meshes()
    found = [*_by_rules(space, table), *_by_limits(space, table)]
    refusals = [Refusal(int(refused.sum()), reason) for refused, reason in found if refused.any()]
    return len(table), sorted(refusals, key=lambda each: -each.n_meshes)


def _by_rules(space: Space, table: PlanTable) -> Iterator[tuple[BoolArray, str]]:
    """Yield what the rules on each field refuse, with the message of the first one for a mesh."""
    model, job = space.scenario.model, space.scenario.job
    for field in dict.fromkeys(rule.field for rule in RULES):
        rules = [rule for rule in RULES if rule.field == field]
        kept = [np.broadcast_to(rule.allowed(model, job, table), len(table)) for rule in rules]
        refused = ~np.logical_and.reduce(kept)
        if refused.any():
            row = int(refused.argmax())
            example = table.plan(row, job.precision)
            broken = next(rule for rule, mask in zip(rules, kept, strict=True) if not mask[row])
            yield refused, f"{field} ({broken.message(model, job, example)})"


def _by_limits(space: Space, table: PlanTable) -> Iterator[tuple[BoolArray, str]]:
    texts = limits_set(space.scenario)
    for name in OF_A_MESH:
        if name in texts:
            limit = getattr(space.scenario.limits, name)
            yield ~allows(limit, getattr(table, name)), texts[name]
