"""Every legal plan of a scenario, as columns: rules first, enumeration second.

A plan is a *base* (mesh, expert parallelism, microbatch) with four *options* that do not depend on
each other: how the pipeline runs, what data parallelism divides, whether sequence parallelism is
on, and what is recomputed. So plans are written down in blocks of any size, and a rule is asked
about a base or an option once, not about every plan.

Of plans that run alike only the simplest is there (`_distinct`), and none that no executor runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from planner.executors import runnable
from simulator.cost.plan_table import RECOMPUTES, SCHEDULES, BoolArray, IntArray, PlanTable
from simulator.spec.errors import InputError
from simulator.spec.legality import RULES
from simulator.spec.scenario import Scenario
from simulator.spec.target import TARGETS, Target, find_target

_1F1B = SCHEDULES.index("1f1b")
_INTERLEAVED = SCHEDULES.index("interleaved-1f1b")
_COLUMNS = tuple(field.name for field in fields(PlanTable))
_BLOCK_BASES = 4096
"""Bases whose options are looked at together; bounds memory for clusters of any size."""


@dataclass(frozen=True, slots=True)
class Options:
    """Alternatives for some columns of a plan; row i of `values` is alternative i."""

    columns: tuple[str, ...]
    values: IntArray


@dataclass(frozen=True, slots=True)
class Space:
    """The legal plans of a scenario that at least one executor runs."""

    scenario: Scenario
    targets: tuple[Target, ...]
    """Executors of which one must be able to run a plan."""
    n_devices: int
    """Ranks of every plan."""

    @classmethod
    def of(cls, scenario: Scenario) -> Space:
        """Return the space of a scenario. Raises InputError when its limits ask for more
        devices than there are.
        """
        n_devices = scenario.limits.devices or scenario.cluster.n_devices
        if n_devices > scenario.cluster.n_devices:
            raise InputError(
                f"limits.devices: {n_devices} devices wanted, and the cluster has "
                f"{scenario.cluster.n_devices}"
            )
        if scenario.target is None:
            return cls(scenario, tuple(TARGETS.values()), n_devices)
        target = find_target(scenario.target, where="target")
        refusal = target.model_refusal(scenario.model)
        if refusal is not None:
            raise InputError(f"target: {refusal}")
        return cls(scenario, (target,), n_devices)

    def tables(self, max_rows: int = 1 << 16) -> Iterator[PlanTable]:
        """Yield the plans in tables of about `max_rows` rows (more only where one base has more).

        The order is fixed: it depends on the scenario alone.
        """
        bases = self.bases()
        for start in range(0, len(bases), _BLOCK_BASES):
            some = np.arange(start, min(start + _BLOCK_BASES, len(bases)))
            for table in _Block.of(self, bases.take(some)).tables(max_rows):
                if len(self.targets) == 1:  # every option has already asked it
                    yield table
                else:
                    yield table.take(self._runnable(table, _COLUMNS))

    def bases(self) -> PlanTable:
        """Return all meshes with their microbatches and expert parallelism, options at rest."""
        model, job = self.scenario.model, self.scenario.job
        sizes = _divisors(self.n_devices)
        meshes = np.stack(
            np.meshgrid(
                sizes[sizes <= model.n_heads],
                sizes[sizes <= job.sequence_length],
                sizes[sizes <= model.n_layers],
                indexing="ij",
            ),
            axis=-1,
        ).reshape(-1, 3)
        table = _one_device_plan()
        table = self._cross(table, Options(("tp", "cp", "pp"), meshes))
        batches = _divisors(job.batch_sequences)
        table = self._cross(table, Options(("microbatch_sequences",), batches[:, None]))
        experts = _divisors(model.moe.n_experts if model.moe else 1)
        return self._cross(table, Options(("ep",), experts[:, None]))

    def options(self) -> tuple[Options, ...]:
        """Return the independent groups of alternatives that a base can take."""
        pipeline = [
            (SCHEDULES.index(name), stages)
            for name in SCHEDULES
            for stages in (
                range(2, self.scenario.model.n_layers + 1) if name == "interleaved-1f1b" else (1,)
            )
        ]
        shards = _divisors(self.n_devices)
        sharding = [(0, 1)] + [(stage, int(shard)) for stage in (1, 2, 3) for shard in shards]
        return (
            Options(("schedule", "virtual_stages"), np.array(pipeline)),
            Options(("zero_stage", "dp_shard"), np.array(sharding)),
            Options(("sequence_parallel",), np.array([[0], [1]])),
            Options(("recompute",), np.arange(len(RECOMPUTES))[:, None]),
        )

    def admitted(self, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        """Return which plans are allowed as far as `columns` are concerned."""
        expert_ranks = table.dp * table.cp * table.tp
        allowed: BoolArray = (table.n_ranks == self.n_devices) & (expert_ranks % table.ep == 0)
        for rule in RULES:
            allowed &= rule.allowed(self.scenario.model, self.scenario.job, table)
        allowed &= _distinct(table)
        allowed &= self._within_limits(table, columns)
        allowed &= self._runnable(table, columns)
        return allowed

    def crossed(self, base: PlanTable, options: Options) -> PlanTable:
        """Return every base with every alternative, and what follows from them."""
        n_base, n_choices = len(base), len(options.values)
        table = base.take(np.repeat(np.arange(n_base), n_choices))
        choices = np.tile(options.values, (n_base, 1))
        decided = {name: choices[:, at] for at, name in enumerate(options.columns)}
        if "dp_shard" in decided:
            decided["dp_replicate"] = table.dp // decided["dp_shard"]
        table = replace(table, **decided)
        if "pp" in decided:
            table = replace(table, dp_replicate=self.n_devices // (table.pp * table.cp * table.tp))
        share = table.dp * table.microbatch_sequences
        batch = self.scenario.job.batch_sequences
        return replace(table, n_microbatches=batch // np.maximum(share, 1))

    def _cross(self, base: PlanTable, options: Options) -> PlanTable:
        table = self.crossed(base, options)
        return table.take(self.admitted(table, options.columns))

    def _runnable(self, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        masks = [runnable(target, self.scenario.model, table, columns) for target in self.targets]
        mask: BoolArray = np.logical_or.reduce(masks)
        return mask

    def _within_limits(self, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        """Whether the decided columns have the values that the user fixed.

        A schedule says nothing about a plan without a pipeline.
        """
        limits = self.scenario.limits
        allowed = np.ones(len(table), dtype=np.bool_)
        for column in columns:
            wanted = getattr(limits, column)
            if wanted is None:
                continue
            if column == "schedule":
                allowed &= (table.pp == 1) | (table.schedule == SCHEDULES.index(wanted))
            elif column == "recompute":
                allowed &= table.recompute == RECOMPUTES.index(wanted)
            else:
                allowed &= getattr(table, column) == wanted
        if "dp_shard" in columns and limits.dp_replicate is not None:
            allowed &= table.dp_replicate == limits.dp_replicate
        if "pp" in columns and limits.dp is not None:
            allowed &= table.dp == limits.dp
        return allowed


@dataclass(frozen=True, slots=True)
class _Block:
    """Some bases with the alternatives that each of them allows."""

    base: PlanTable
    options: tuple[Options, ...]
    allowed: tuple[BoolArray, ...]
    """Per group of options, (base, alternative)."""

    @classmethod
    def of(cls, space: Space, base: PlanTable) -> _Block:
        groups = space.options()
        allowed = [
            space.admitted(space.crossed(base, group), group.columns).reshape(len(base), -1)
            for group in groups
        ]
        return cls(base, groups, tuple(allowed))

    def tables(self, max_rows: int) -> Iterator[PlanTable]:
        counts = np.prod([mask.sum(axis=1) for mask in self.allowed], axis=0, dtype=np.int64)
        first, rows = 0, 0
        for base, count in enumerate(counts.tolist()):
            if rows and rows + count > max_rows:
                yield self._rows(first, base)
                first, rows = base, 0
            rows += count
        if rows:
            yield self._rows(first, len(counts))

    def _rows(self, first: int, last: int) -> PlanTable:
        """Return all plans of the bases first to last - 1."""
        base = np.arange(first, last)
        columns: dict[str, IntArray] = {}
        for options, mask in zip(self.options, self.allowed, strict=True):
            row, choice = np.nonzero(mask[base])
            base = base[row]
            columns = {name: column[row] for name, column in columns.items()}
            for at, name in enumerate(options.columns):
                columns[name] = options.values[choice, at]
        table = self.base.take(base)
        return replace(table, dp_replicate=table.dp // columns["dp_shard"], **columns)


def _distinct(table: PlanTable) -> BoolArray:
    """Return which plans are the simplest of those that run alike.

    Without a pipeline all schedules are one; one virtual stage is plain 1F1B; there is nothing to
    divide where one rank holds each weight.
    """
    pipeline: BoolArray = (table.pp > 1) | (table.schedule == _1F1B)
    stages: BoolArray = (table.schedule == _INTERLEAVED) == (table.virtual_stages > 1)
    sharding: BoolArray = (table.zero_stage == 0) | (table.dp_shard * table.cp > 1)
    return pipeline & stages & sharding


def _one_device_plan() -> PlanTable:
    one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    columns = {field.name: one for field in fields(PlanTable)}
    columns |= {"schedule": one * _1F1B, "zero_stage": zero, "sequence_parallel": zero}
    return PlanTable(**(columns | {"recompute": zero}))


def _divisors(number: int) -> IntArray:
    """Return all divisors, ascending."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return np.array(sorted({*small, *(number // d for d in small)}), dtype=np.int64)
