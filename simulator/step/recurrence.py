"""The closed form of schedules that have no formula: their own recurrence, for many plans at once.

When a pass ends is a maximum of sums of passes before it; the ranks of a column work it out over
arrays of plans that share a schedule. After a few rounds of pp microbatches a pipeline repeats
itself, so the rest of a long step is arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from simulator.cost.plan_table import SCHEDULES, FloatArray, IntArray, PlanTable
from simulator.cost.stages import even_chunks
from simulator.cost.step_costs import StepCosts
from simulator.cost.unique import spread, unique_rows
from simulator.schedule import make_schedule
from simulator.spec.model import ModelSpec
from simulator.step.chunk_costs import ChunkCosts, add_parts, chunk_costs
from simulator.step.column import replayed
from simulator.step.moments import Moment
from simulator.step.rank import Rank
from simulator.step.step_times import StepTimes

TRANSIENT_ROUNDS = 3
"""Fewest rounds of pp microbatches after which a pipeline is taken to repeat itself."""
ENOUGH_PASSES = 3000
"""Passes (chunk and microbatch) up to which a step is replayed whole: some pipelines take long to
settle, above all when gathering weights takes about as long as computing."""


Adjust = Callable[[tuple[ChunkCosts, ...]], tuple[ChunkCosts, ...]]


def recurrence_times(
    costs: StepCosts,
    table: PlanTable,
    model: ModelSpec,
    division: Sequence[int] | None = None,
    adjust: Adjust = lambda chunks: chunks,
    *,
    enough_passes: int = ENOUGH_PASSES,
) -> StepTimes:
    """Return the step time of every plan and its parts; exact up to `enough_passes`.

    `division` replaces the even division of the layers over chunks; `adjust` changes what chunks
    cost.
    """
    merged = StepTimes.nothing(len(table))
    for rows in _alike(costs, table, enough_passes):
        some = table.take(rows)
        layers = (
            even_chunks(model.n_layers, int(some.n_chunks[0])) if division is None else division
        )
        chosen = spread(costs, rows)
        chunks = adjust(chunk_costs(chosen, layers, model))
        merged.put(rows, _of_one_schedule(chosen, some, chunks, enough_passes))
    return merged


def _replayed_microbatches(table: PlanTable, enough_passes: int) -> IntArray:
    """How many microbatches are replayed: all, or the transient and what is left of a round."""
    passes_per_round = table.n_chunks * table.pp
    rounds = np.maximum(enough_passes // passes_per_round, TRANSIENT_ROUNDS)
    whole_rounds: IntArray = rounds * table.pp + table.n_microbatches % table.pp
    return np.minimum(table.n_microbatches, whole_rounds)


def _alike(costs: StepCosts, table: PlanTable, enough_passes: int) -> Iterator[IntArray]:
    """Yield the rows that are replayed together."""
    columns = (
        table.schedule,
        table.pp,
        table.virtual_stages,
        _replayed_microbatches(table, enough_passes),
        costs.gather_every_pass.astype(np.int64),
        costs.reduce_every_microbatch.astype(np.int64),
    )
    subset, inverse = unique_rows(table, columns)
    for group in range(len(subset)):
        yield np.flatnonzero(inverse == group)


def _of_one_schedule(
    costs: StepCosts, table: PlanTable, chunks: tuple[ChunkCosts, ...], enough_passes: int
) -> StepTimes:
    name, pp = SCHEDULES[table.schedule[0]], int(table.pp[0])

    def column(n_microbatches: int) -> _Column:
        schedule = make_schedule(name, pp, int(table.virtual_stages[0]), n_microbatches)
        return _Column.of(replayed(costs, schedule, chunks), len(table))

    n_replayed = int(_replayed_microbatches(table, enough_passes)[0])
    times = column(n_replayed)
    more_rounds = (table.n_microbatches - n_replayed) / pp
    if more_rounds.any():
        times = times.prolonged(column(n_replayed + pp), more_rounds)
    critical, rows = times.ready_s.argmax(axis=0), np.arange(len(table))
    forward, backward, recompute, tp, cp, ep = _work(times.held_chunks, chunks, len(table))[
        :, critical, rows
    ]
    n = table.n_microbatches
    ready_s = times.ready_s[critical, rows]
    return StepTimes(
        forward_s=n * forward,
        backward_s=n * backward,
        recompute_s=n * recompute,
        tp_s=n * tp,
        cp_s=n * cp,
        ep_s=n * ep,
        pp_s=times.transfer_s[critical, rows],
        dp_s=times.collective_s[critical, rows],
        bubble_s=times.bubble_s[critical, rows],
        optimizer_s=costs.optimizer_s,
        other_s=(costs.scale_factor - 1.0) * (ready_s + costs.optimizer_s) + costs.step_constant_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """When the ranks of a column are ready, and what they waited for; shape (pp, n)."""

    held_chunks: tuple[tuple[int, ...], ...]
    ready_s: FloatArray
    transfer_s: FloatArray
    collective_s: FloatArray
    bubble_s: FloatArray

    @classmethod
    def of(cls, ranks: Sequence[Rank], n_rows: int) -> Self:
        """Read them off the ranks."""
        return cls(
            held_chunks=tuple(rank.held_chunks for rank in ranks),
            ready_s=_stacked([rank.clock_s for rank in ranks], n_rows),
            transfer_s=_stacked([rank.transfer_s for rank in ranks], n_rows),
            collective_s=_stacked([rank.collective_s for rank in ranks], n_rows),
            bubble_s=_stacked([rank.bubble_s for rank in ranks], n_rows),
        )

    def prolonged(self, longer: _Column, rounds: FloatArray) -> _Column:
        """Return the column after so many more rounds, of which `longer` has one."""

        def after(short: FloatArray, long: FloatArray) -> FloatArray:
            return short + rounds * (long - short)

        return _Column(
            held_chunks=self.held_chunks,
            ready_s=after(self.ready_s, longer.ready_s),
            transfer_s=after(self.transfer_s, longer.transfer_s),
            collective_s=after(self.collective_s, longer.collective_s),
            bubble_s=after(self.bubble_s, longer.bubble_s),
        )


def _work(
    held_chunks: Sequence[Sequence[int]], chunks: Sequence[ChunkCosts], n_rows: int
) -> FloatArray:
    """The parts of one microbatch on every rank; shape (parts, pp, n)."""
    ranks = [
        add_parts(
            part for chunk in held for part in (chunks[chunk].forward, chunks[chunk].backward)
        )
        for held in held_chunks
    ]
    return np.array([_stacked(part, n_rows) for part in zip(*ranks, strict=True)])


def _stacked(moments: Sequence[Moment], n_rows: int) -> FloatArray:
    return np.array([np.broadcast_to(moment, n_rows) for moment in moments])
