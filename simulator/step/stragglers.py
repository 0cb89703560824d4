"""Slow devices and jitter on the time line of a step: who waits for whom.

The ranks that share a layer (tensor- and context-parallel) wait for each other in every pass; so do
all data-parallel ranks where weights are gathered or gradients reduced with every pass, or experts
are exchanged. Otherwise the pipeline columns meet at the end of the step, which waits for the last.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

from simulator.cost.plan_table import PlanTable
from simulator.spec.plan import PlanSpec
from simulator.spec.stragglers import StragglerSpec
from simulator.step.chunk_costs import ChunkCosts, slower
from simulator.step.meetings import Meetings
from simulator.step.slowest import expected_normal_maximum

MAX_COLUMNS = 8
"""Columns with jitter that are simulated; how far the slowest of more of them lags behind follows
from their spread."""

Draw = Callable[[], float]
"""Returns how long a pass takes over its mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stragglers:
    """What differs between the pipeline columns of a plan."""

    slow_stages: tuple[frozenset[int], ...] = (frozenset(),)
    """Stages with a slow device, for every different column."""
    slowdown: float = 1.0
    jitter: float = 0.0
    n_together: int = 1
    """Ranks of a stage that wait for each other in every pass."""
    n_columns: int = 1
    """Columns that meet at the end of the step only."""
    seed: int = 0

    @classmethod
    def of(cls, spec: StragglerSpec, plan: PlanSpec, seed: int) -> Self:
        """Draw the slow devices among the ranks of a plan."""
        meetings = Meetings.of(PlanTable.of([plan]))
        n_together, n_columns = int(meetings.n_together[0]), int(meetings.n_columns[0])
        slow: dict[int, set[int]] = {}
        n_slow = min(spec.slow_devices, plan.n_ranks) if spec.slowdown > 1.0 else 0
        for rank in random.Random(seed).sample(range(plan.n_ranks), n_slow):
            stage, place = divmod(rank, plan.n_ranks // plan.pp)
            slow.setdefault(place // n_together, set()).add(stage)
        kinds = {frozenset(stages) for stages in slow.values()}
        slowest = {kind for kind in kinds if not any(kind < other for other in kinds)}
        return cls(
            slow_stages=tuple(sorted(slowest, key=sorted)) or (frozenset(),),
            slowdown=spec.slowdown,
            jitter=spec.pass_jitter,
            n_together=n_together,
            n_columns=n_columns,
            seed=seed,
        )

    def slowed(
        self,
        chunks: Sequence[ChunkCosts],
        plan: PlanSpec,
        slow_stages: frozenset[int],
        pace: float = 1.0,
    ) -> tuple[ChunkCosts, ...]:
        """Return the chunks of a column with slow devices on some stages; `pace` is of all."""
        slow = {chunk for stage in slow_stages for chunk in plan.chunks_of_rank(stage)}
        paces = [pace * (self.slowdown if chunk in slow else 1.0) for chunk in range(len(chunks))]
        return tuple(
            costs if each == 1.0 else slower(costs, each)
            for costs, each in zip(chunks, paces, strict=True)
        )

    def draws(self, column: int, n_stages: int) -> list[Draw | None]:
        """Return the jitter of every stage of a column; None where there is none."""
        if self.jitter == 0.0:
            return [None] * n_stages
        return [self._draw(random.Random(f"{self.seed}/{column}/{s}")) for s in range(n_stages)]

    def _draw(self, chance: random.Random) -> Draw:
        normal, share = NormalDist(), 1.0 / self.n_together

        def draw() -> float:
            largest = chance.random() ** share  # of n_together uniform numbers
            return max(0.0, 1.0 + self.jitter * normal.inv_cdf(min(max(largest, 1e-12), 1 - 1e-12)))

        return draw

    @property
    def n_simulated(self) -> int:
        """Columns that are simulated for their jitter."""
        return min(self.n_columns, MAX_COLUMNS) if self.jitter > 0.0 else 1

    def lag_s(self, columns_s: Sequence[float]) -> float:
        """Return how much later than the slowest simulated column the slowest of all is."""
        if self.n_columns <= len(columns_s) or len(columns_s) < 2:
            return 0.0
        mean_s = sum(columns_s) / len(columns_s)
        variance = sum((each - mean_s) ** 2 for each in columns_s) / (len(columns_s) - 1)
        most, some = expected_normal_maximum([self.n_columns, len(columns_s)])
        return float((most - some) * variance**0.5)

    def expected_pace(self) -> float:
        """Return how long a pass takes over its mean, with all the ranks that wait in it."""
        if self.jitter == 0.0:
            return 1.0
        return 1.0 + self.jitter * float(expected_normal_maximum(self.n_together))
