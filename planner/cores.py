"""Plans in halves: cores, and the arrangements that each of them allows, written down when asked.

An arrangement is a sharding and a pipeline, and an executor runs every pair of the halves that it
runs. So plans are counted and written down without looking at the pairs that nobody runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import numpy as np

from simulator.cost.plan_table import BoolArray, IntArray, PlanTable

ZERO_STAGES = (0, 1, 2, 3)


@dataclass(frozen=True, slots=True)
class Options:
    """Alternatives for some columns of a plan; row i of `values` is alternative i."""

    columns: tuple[str, ...]
    values: IntArray

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> IntArray:
        """Return one decision of every alternative."""
        found: IntArray = self.values[:, self.columns.index(name)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one executor runs of legal plans: halves of arrangements, and what goes with them."""

    piped: BoolArray
    """(base, pipeline)"""
    sharded: BoolArray
    """(base, sharding)"""
    chosen: BoolArray
    """(base, sequence_parallel)"""
    recomputes: BoolArray
    """(kind of recompute,)"""

    def within(self, other: Reach) -> bool:
        """Whether the other executor runs all of this."""
        return all(bool((mine <= theirs).all()) for mine, theirs in self._pairs(other))

    def both(self, other: Reach) -> Reach:
        """Return what both executors run."""
        names = [each.name for each in fields(self)]
        shared = [mine & theirs for mine, theirs in self._pairs(other)]
        return Reach(**dict(zip(names, shared, strict=True)))

    def _pairs(self, other: Reach) -> list[tuple[BoolArray, BoolArray]]:
        return [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """Which kinds of recompute run like no simpler one: first-4 in chunks of more layers."""

    longest: IntArray
    """Layers of the longest chunk: (base, pipeline)."""
    repeated: IntArray
    """Layers of every chunk that a kind repeats, where all of them have a name: (kind,)."""

    def pipelines(self, base: IntArray, kind: IntArray) -> BoolArray:
        """Return the pipelines in which a kind is one of its own: (base, pipeline)."""
        distinct: BoolArray = self.longest[base] > self.repeated[kind][:, None]
        return distinct

    def n_pipelines(self, piped: BoolArray) -> IntArray:
        """Count those of some pipelines: (base, kind)."""
        counts = {
            layers: (piped & (self.longest > layers)).sum(axis=1)
            for layers in set(self.repeated.tolist())
        }
        return np.stack([counts[layers] for layers in self.repeated.tolist()], axis=1)


def joined(blocks: Sequence[Reach]) -> Reach:
    """Return what one executor runs of the bases of several blocks, in their order."""
    return Reach(
        piped=np.concatenate([block.piped for block in blocks]),
        sharded=np.concatenate([block.sharded for block in blocks]),
        chosen=np.concatenate([block.chosen for block in blocks]),
        recomputes=blocks[0].recomputes,
    )


def widest(reaches: Sequence[Reach]) -> tuple[Reach, ...]:
    """Return the reaches that no other one holds, each once."""
    kept: list[Reach] = []
    for reach in reaches:
        if not any(reach.within(other) for other in kept):
            kept = [other for other in kept if not other.within(reach)] + [reach]
    return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Plans as cores with the arrangements that each of them allows."""

    table: PlanTable
    """One row per core, with a plain pipeline and nothing divided."""
    base: IntArray
    """The base that a core belongs to."""
    kind: IntArray
    """Its kind of recompute, as the reaches count them."""
    pipelines: Options
    shardings: Options
    reaches: tuple[Reach, ...]
    """A plan is here when one of them holds it."""
    distinct: Distinct
    n_arrangements: IntArray
    """(core, ZeRO stage): how many arrangements there are."""

    @classmethod
    def of(
        cls,
        table: PlanTable,
        base: IntArray,
        kind: IntArray,
        pipelines: Options,
        shardings: Options,
        reaches: tuple[Reach, ...],
        distinct: Distinct,
    ) -> Cores:
        """Count the plans of some cores: those of any reach, each once."""
        counts = np.zeros((len(table), len(ZERO_STAGES)), dtype=np.int64)
        for size in range(1, len(reaches) + 1):
            for some in itertools.combinations(reaches, size):  # inclusion and exclusion
                shared = reduce(Reach.both, some)
                n_piped = distinct.n_pipelines(shared.piped)[base, kind]
                taken = shared.chosen[base, table.sequence_parallel] & shared.recomputes[kind]
                ways = _by_stage(shared.sharded, shardings)[base] * (n_piped * taken)[:, None]
                counts += (-1) ** (size - 1) * ways
        return cls(
            table=table,
            base=base,
            kind=kind,
            pipelines=pipelines,
            shardings=shardings,
            reaches=reaches,
            distinct=distinct,
            n_arrangements=counts,
        )

    def __len__(self) -> int:
        return len(self.table)

    def with_stages(self, stages: BoolArray) -> Cores:
        """Return the plans of these whose core has True for their ZeRO stage."""
        return replace(self, n_arrangements=self.n_arrangements * stages)

    @property
    def counts(self) -> IntArray:
        """Plans of every core."""
        counts: IntArray = self.n_arrangements.sum(axis=1)
        return counts

    def batches(self, cores: IntArray, max_rows: int) -> Iterator[IntArray]:
        """Split some cores, in their order, into runs of at most `max_rows` plans."""
        counts = self.counts[cores]
        kept = counts > 0
        cores, filled = cores[kept], np.cumsum(counts[kept])
        first = 0
        while first < len(cores):
            before = filled[first - 1] if first else 0
            last = max(int(np.searchsorted(filled, before + max_rows, side="right")), first + 1)
            yield cores[first:last]
            first = last

    def plans(self, cores: IntArray) -> tuple[PlanTable, IntArray]:
        """Write down all plans of some cores, and say which core each belongs to."""
        keys = [self._keys(reach, cores) for reach in self.reaches]
        key = keys[0] if len(keys) == 1 else np.unique(np.concatenate(keys))
        key, pipeline = np.divmod(key, len(self.pipelines))
        row, sharding = np.divmod(key, len(self.shardings))
        table = self.table.take(cores[row])
        decided = {
            name: options.column(name)[choice]
            for options, choice in ((self.shardings, sharding), (self.pipelines, pipeline))
            for name in options.columns
        }
        shards = decided["dp_shard"]
        return replace(table, dp_replicate=table.dp // shards, **decided), cores[row]

    def _keys(self, reach: Reach, cores: IntArray) -> IntArray:
        """Return (core, sharding, pipeline), as one number each, of what one executor runs."""
        base, kind = self.base[cores], self.kind[cores]
        taken = reach.chosen[base, self.table.sequence_parallel[cores]]
        taken = taken & reach.recomputes[kind]
        stages = self.n_arrangements[cores] > 0
        sharded = reach.sharded[base] & stages[:, self.shardings.column("zero_stage")]
        row, sharding = np.nonzero(sharded & taken[:, None])
        piped = reach.piped[base] & self.distinct.pipelines(base, kind)
        n_pipelines = piped.sum(axis=1)
        first_pipeline = np.cumsum(n_pipelines) - n_pipelines
        copies = n_pipelines[row]
        pair = np.repeat(np.arange(len(row)), copies)
        place = np.arange(len(pair)) - np.repeat(np.cumsum(copies) - copies, copies)
        pipeline = np.nonzero(piped)[1][first_pipeline[row[pair]] + place]
        arrangement = sharding[pair] * len(self.pipelines) + pipeline
        keys: IntArray = row[pair] * len(self.shardings) * len(self.pipelines) + arrangement
        return keys


def _by_stage(sharded: BoolArray, shardings: Options) -> IntArray:
    """Return how many shardings there are of each ZeRO stage."""
    stage = shardings.column("zero_stage")
    return np.stack([sharded[:, stage == each].sum(axis=1) for each in ZERO_STAGES], axis=1)
