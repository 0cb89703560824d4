"""The repair of nodes: heavy-tailed times, repairs that do not help, a limited number of crews."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapreplace
from itertools import repeat

import numpy as np

from simulator.campaign.agenda import Agenda
from simulator.cost.plan_table import FloatArray

_CHUNK = 256  # repairs drawn at once


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairTerms:
    """How nodes are repaired."""

    mean_s: float
    spread: float
    """Standard deviation of the logarithm; the mean stays as it is."""
    success: float
    """Share of the repairs that help."""
    n_crews: int | None
    """Repairs at once; None means all."""

    def factors(self, generator: np.random.Generator) -> Iterator[float]:
        """Yield times of whole repairs over the mean of a single one."""
        if self.spread == 0 and self.success == 1:
            yield from repeat(1.0)
        while True:
            yield from self.draw_many_s(np.ones(_CHUNK), generator).tolist()

    def draw_many_s(self, mean_s: FloatArray, generator: np.random.Generator) -> FloatArray:
        """Draw the times of whole repairs with these means, each repeated until it helps."""
        time_s = np.zeros_like(mean_s)
        open_repairs = np.ones(len(mean_s), dtype=np.bool_)
        while open_repairs.any():
            location = -(self.spread**2) / 2
            factor = generator.lognormal(location, self.spread, len(mean_s))
            time_s += np.where(open_repairs, mean_s * factor, 0.0)
            open_repairs &= generator.random(len(mean_s)) >= self.success
        return time_s


class RepairShop:
    """Takes nodes in and gives them back."""

    def __init__(
        self,
        agenda: Agenda,
        terms: RepairTerms,
        seed: np.random.SeedSequence,
        give_back: Callable[[int], None],
    ) -> None:
        self._agenda = agenda
        self._terms = terms
        self._factors = terms.factors(np.random.default_rng(seed))
        self._give_back = give_back
        self._crews_free_s = None if terms.n_crews is None else [0.0] * terms.n_crews
        """When each crew has done what it has been given, the first one first."""

    def take(self, node: int, mean_s: float | None) -> None:
        """Repair a node; `mean_s` where its cause has a repair time of its own.

        Where crews are few, nodes are repaired in the order in which they came.
        """
        repair_s = (mean_s or self._terms.mean_s) * next(self._factors)
        if self._crews_free_s is not None:
            wait_s = max(0.0, self._crews_free_s[0] - self._agenda.now_s)
            repair_s += wait_s
            heapreplace(self._crews_free_s, self._agenda.now_s + repair_s)
        self.keep(node, repair_s)

    def keep(self, node: int, away_s: float) -> None:
        """Give a node back after a known time."""
        self._agenda.after(away_s, self._give_back, node)
