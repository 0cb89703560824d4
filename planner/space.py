"""Every legal plan of a scenario, as columns: rules first, enumeration second.

A plan is a *core* (mesh, expert parallelism, microbatch, sequence parallelism, recompute) and an
*arrangement* (pipeline schedule with its virtual stages, and what data parallelism divides). The
cost of a layer depends on the core alone, so a search can rank or drop cores before it writes down
their many arrangements. Rules are asked about a core or half an arrangement once, not about every
plan.

Of plans that run alike only the simplest is there (`_distinct`, and `planner.cores.Distinct` for
kinds of recompute), and none that no executor runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from planner.cores import ZERO_STAGES, Cores, Distinct, Options, Reach, joined, widest
from planner.executors import runnable
from planner.limits import allowed_names, allows
from simulator.campaign.decided import separable_groups
from simulator.cost.plan_table import SCHEDULES, BoolArray, IntArray, PlanTable
from simulator.spec.choice import Except
from simulator.spec.errors import InputError
from simulator.spec.legality import RULES
from simulator.spec.recompute import (
    CORE_ATTENTION,
    Recompute,
    has_part,
    parse_recompute,
    simplest,
)
from simulator.spec.scenario import Scenario
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName
from simulator.spec.target import TARGETS, Target, find_target

_1F1B = SCHEDULES.index("1f1b")
PLAIN_SCHEDULES: tuple[ScheduleName, ...] = ("gpipe", "1f1b", "interleaved-1f1b")
"""What is proposed when no target is named: most executors have them."""
_BLOCK_CELLS = 1 << 18
"""Most bases with halves of arrangements that rules are asked about at once; bounds memory."""
_SETTLED_BY = {
    "pp": ("dp",),
    "dp_shard": ("dp_replicate",),
    "microbatch_sequences": ("n_microbatches",),
}
"""Columns that follow from others: known when those are decided."""


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
        n_devices = scenario.n_devices
        if n_devices > scenario.cluster.n_devices:
            raise InputError(
                f"limits.devices: {n_devices} devices wanted, and the cluster has "
                f"{scenario.cluster.n_devices}"
            )
        if scenario.target is None:
            return cls(scenario, tuple(TARGETS.values()), n_devices)
        target = find_target(scenario.target, where="target")
        refusal = target.job_refusal(scenario.job) or target.model_refusal(
            scenario.model, scenario.job.precision
        )
        if refusal is not None:
            raise InputError(f"target: {refusal}")
        return cls(scenario, (target,), n_devices)

    @property
    def schedules(self) -> tuple[ScheduleName, ...]:
        """What may be proposed: the schedules that the limits name, or what the target offers.

        1F1B stands for all of them without a pipeline.
        """
        target = self.scenario.target
        offered = PLAIN_SCHEDULES if target is None else self.targets[0].schedules
        wanted = allowed_names(self.scenario.limits.schedule, offered)
        return tuple(dict.fromkeys(("1f1b", *wanted)))

    @property
    def recomputes(self) -> tuple[Recompute, ...]:
        """What may be proposed, by its code: the kinds that the limits name, or what is offered."""
        limit, attention = self.scenario.limits.recompute, self.scenario.job.attention
        offered = {name for target in self.targets for name in target.recomputes.proposed}
        kinds = {parse_recompute(name) for name in allowed_names(limit, tuple(offered))}
        if limit is None or isinstance(limit, Except):
            kinds = {kind for kind in kinds if self._pays(kind)}
        kinds -= {kind for kind in kinds if simplest(kind, attention) in kinds - {kind}}
        return tuple(sorted(kinds, key=lambda kind: kind.code))

    def _pays(self, kind: Recompute) -> bool:
        """Whether the model has what is repeated; fused attention gives nothing back."""
        if kind == CORE_ATTENTION and self.scenario.job.attention == "fused":
            return False
        return all(has_part(self.scenario.model, part) for part in kind.parts)

    def tables(self, max_rows: int = 1 << 16) -> Iterator[PlanTable]:
        """Yield all plans in tables of at most `max_rows` rows (more only where one core has more).

        The order is fixed: it depends on the scenario alone.
        """
        cores = self.cores()
        for rows in cores.batches(np.arange(len(cores)), max_rows):
            yield cores.plans(rows)[0]

    def cores(self) -> Cores:
        """Return all plans, not yet written down."""
        bases, pipelines, shardings = self._bases(), self._pipelines(), self._shardings()
        n_rows = max(1, _BLOCK_CELLS // (len(pipelines) + len(shardings)))
        blocks = [
            self._reaches(
                bases.take(np.arange(start, min(start + n_rows, len(bases)))), pipelines, shardings
            )
            for start in range(0, len(bases), n_rows)
        ]
        codes = [kind.code for kind in self.recomputes]
        options = Options(("sequence_parallel", "recompute"), _grid(range(2), codes))
        crossed = self._crossed(bases, options)
        kept = self._legal(crossed, options.columns)
        table = crossed.take(kept)
        return Cores.of(
            table,
            np.repeat(np.arange(len(bases)), len(options))[kept],
            np.searchsorted(codes, table.recompute),
            pipelines,
            shardings,
            widest([joined(of_target) for of_target in zip(*blocks, strict=True)]),
            self._distinct_kinds(bases, pipelines),
        )

    def _distinct_kinds(self, bases: PlanTable, pipelines: Options) -> Distinct:
        """Return where `first-k` is not `full`, which whoever runs it runs too."""
        full = parse_recompute("full") in self.recomputes
        n_chunks = bases.pp[:, None] * pipelines.column("virtual_stages")
        repeated = [kind.count * (kind.whole == "first" and full) for kind in self.recomputes]
        return Distinct(
            longest=-(-self.scenario.model.n_layers // n_chunks), repeated=np.array(repeated)
        )

    def _reaches(self, bases: PlanTable, pipelines: Options, shardings: Options) -> list[Reach]:
        """Return what every executor runs of some bases."""
        piped, sharded = self._crossed(bases, pipelines), self._crossed(bases, shardings)
        may_pipe = self._legal(piped, pipelines.columns)
        may_shard = self._legal(sharded, shardings.columns)
        choices = [replace(bases, sequence_parallel=np.full(len(bases), at)) for at in range(2)]
        kinds, attention = self.recomputes, self.scenario.job.attention
        reaches = []
        for target in self.targets:
            mesh = self._runs(target, bases, ("tp", "pp", "cp", "ep"))
            chosen = [mesh & self._runs(target, each, ("sequence_parallel",)) for each in choices]
            pipes = may_pipe & self._runs(target, piped, pipelines.columns)
            shards = may_shard & self._runs(target, sharded, shardings.columns)
            reaches.append(
                Reach(
                    piped=pipes.reshape(len(bases), -1),
                    sharded=shards.reshape(len(bases), -1),
                    chosen=np.stack(chosen, axis=1),
                    recomputes=np.array([target.recomputes.runs(k, attention) for k in kinds]),
                )
            )
        return reaches

    def meshes(self) -> PlanTable:
        """Return all meshes with their microbatches and expert parallelism, legal or not."""
        table = _one_device_plan()
        for options in self._mesh_options():
            table = self._crossed(table, options)
            table = table.take(self._is_mesh(table))
        return replace(table, n_microbatches=np.maximum(table.n_microbatches, 1))

    def _bases(self) -> PlanTable:
        """Return the legal meshes with their microbatches and expert parallelism."""
        table = _one_device_plan()
        for options in self._mesh_options():
            crossed = self._crossed(table, options)
            table = crossed.take(self._legal(crossed, options.columns))
        return table

    def _mesh_options(self) -> tuple[Options, ...]:
        """Return what a base decides, step by step; the rest of it is at rest."""
        model, job = self.scenario.model, self.scenario.job
        sizes = _divisors(self.n_devices)
        meshes = _grid(
            sizes[sizes <= model.n_heads],
            sizes[sizes <= job.sequence_length],
            sizes[sizes <= model.n_layers],
        )
        experts = _divisors(model.moe.n_experts if model.moe else 1)
        return (
            Options(("tp", "cp", "pp"), meshes),
            Options(("microbatch_sequences",), _grid(_divisors(job.batch_sequences))),
            Options(("ep",), _grid(experts)),
        )

    def _pipelines(self) -> Options:
        """Return every schedule with its virtual stages.

        With one of them interleaved is plain 1F1B, and looped breadth-first is GPipe.
        """
        deepest = self.scenario.model.n_layers // 2
        alternatives = [
            (SCHEDULES.index(name), stages)
            for name in self.schedules
            for stages in range(
                SCHEDULE_TRAITS[name].fewest_chunks,
                max(1, min(SCHEDULE_TRAITS[name].most_chunks, deepest)) + 1,
            )
            if stages > 1 or name not in ("interleaved-1f1b", "looped-bfs")
        ]
        return Options(("schedule", "virtual_stages"), np.array(alternatives))

    def _shardings(self) -> Options:
        """Return every ZeRO stage with the number of ranks that it divides over."""
        sharded = _grid(ZERO_STAGES[1:], _divisors(self.n_devices))
        return Options(("zero_stage", "dp_shard"), np.vstack([[(0, 1)], sharded]))

    def _crossed(self, base: PlanTable, options: Options) -> PlanTable:
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

    def _legal(self, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        """Return which plans keep the rules, and the limits on `columns`."""
        legal = self._is_mesh(table)
        for rule in RULES:
            legal &= rule.allowed(self.scenario.model, self.scenario.job, table)
        legal &= _distinct(table)
        legal &= self._within_limits(table, columns)
        return legal

    def _is_mesh(self, table: PlanTable) -> BoolArray:
        """Return which plans use all devices, with experts over whole groups of them."""
        expert_ranks = table.dp * table.cp * table.tp
        mesh: BoolArray = (table.n_ranks == self.n_devices) & (expert_ranks % table.ep == 0)
        return mesh

    def _runs(self, target: Target, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        return runnable(target, self.scenario, table, columns)

    def _within_limits(self, table: PlanTable, columns: tuple[str, ...]) -> BoolArray:
        """Whether the decided columns have values that the limits allow.

        A schedule says nothing about a plan without a pipeline; for kinds of recompute see
        `recomputes`.
        """
        limits = self.scenario.limits
        allowed = np.ones(len(table), dtype=np.bool_)
        for column in columns:
            if column == "schedule" and limits.schedule is not None:
                names = allowed_names(limits.schedule, SCHEDULES)
                codes = [SCHEDULES.index(name) for name in names]
                allowed &= (table.pp == 1) | np.isin(table.schedule, codes)
            elif column not in ("schedule", "recompute"):
                allowed &= allows(getattr(limits, column), getattr(table, column))
            for settled in _SETTLED_BY.get(column, ()):
                allowed &= allows(getattr(limits, settled), getattr(table, settled))
        groups = self.scenario.reliability.isolation_groups
        if "dp_shard" in columns and groups is not None:
            ranks_per_copy = table.dp_shard * table.cp * table.tp
            per_node = self.scenario.cluster.devices_per_node
            most = separable_groups(table.dp_replicate, ranks_per_copy, per_node)
            allowed &= most % groups == 0
        return allowed


def _distinct(table: PlanTable) -> BoolArray:
    """Return which plans are the simplest of those that run alike.

    Without a pipeline all schedules are one; there is nothing to divide where one rank holds each
    weight.
    """
    pipeline: BoolArray = (table.pp > 1) | (table.schedule == _1F1B)
    sharding: BoolArray = (table.zero_stage == 0) | (table.dp_shard * table.cp > 1)
    return pipeline & sharding


def _one_device_plan() -> PlanTable:
    one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    columns = {field.name: one for field in fields(PlanTable)}
    columns |= {"schedule": one * _1F1B, "zero_stage": zero, "sequence_parallel": zero}
    return PlanTable(**(columns | {"recompute": zero}))


def _grid(*values: Iterable[int]) -> IntArray:
    """Return all combinations, one a row; the last column runs fastest."""
    columns = [np.asarray([*column], dtype=np.int64) for column in values]
    return np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1).reshape(-1, len(columns))


def _divisors(number: int) -> IntArray:
    """Return all divisors, ascending."""
    small = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return np.array(sorted({*small, *(number // d for d in small)}), dtype=np.int64)
