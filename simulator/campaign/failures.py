"""What fails when: a stream of events whose cost follows the events, not the devices.

All exponential causes share one clock of their summed rate; the cause and the unit are drawn when
it rings. Ageing parts have a clock per cause, cohort and phase of life: while all parts of a cohort
are of one age, the next failure of n of them comes when n times the cumulative hazard has grown by
an exponential; a renewed part leaves the cohort and carries a clock of its own. The stream does not
depend on what the job does, so that plans can be compared under the same failures.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import NamedTuple

import numpy as np

from simulator.campaign.fleet import Cohort, Cohorts, Fleet
from simulator.campaign.weibull import weibull_scale
from simulator.spec.reliability import FailureCause, Outage
from simulator.spec.units import DAY_S

_CHUNK = 512  # random numbers drawn at once


class Failure(NamedTuple):
    """One event."""

    time_s: float
    cause: FailureCause
    node: int
    n_followers: int = 0
    """Nodes after it that go too."""
    removes: bool = True
    """Whether the struck nodes need repair."""
    back_s: float | None = None
    """When the node is back, where that is recorded instead of drawn."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What strikes a cohort because of one phase of one cause."""

    cause: FailureCause
    cohort: Cohort
    rate_per_s: float
    """Events of the whole cohort, over a mean life."""
    shape: float


def failure_stream(
    causes: tuple[FailureCause, ...],
    fleet: Fleet,
    cohorts: Cohorts,
    recorded: tuple[Failure, ...],
    seed: np.random.SeedSequence,
) -> Iterator[Failure]:
    """Yield the failures of a fleet in the order of time; without end unless nothing can fail.

    Rates are of the devices that hold ranks. Units beside them are struck at the same rate, which
    whoever reads the stream may ignore.
    """
    parts = _parts(causes, fleet, cohorts)
    constant = [part for part in parts if part.shape == 1]
    ageing = [part for part in parts if part.shape != 1]
    seeds = seed.spawn(1 + len(ageing))
    streams: list[Iterator[Failure]] = [iter(recorded)] if recorded else []
    if constant:
        streams.append(_constant(constant, cohorts, np.random.default_rng(seeds[0])))
    streams += [
        _ageing(part, fleet.devices_per_node, cohorts, np.random.default_rng(own))
        for part, own in zip(ageing, seeds[1:], strict=True)
    ]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=lambda failure: failure.time_s)


def _parts(causes: tuple[FailureCause, ...], fleet: Fleet, cohorts: Cohorts) -> list[_Part]:
    """Divide every cause over cohorts and phases of life."""
    n_devices = fleet.n_nodes * fleet.devices_per_node
    parts = []
    for cause in causes:
        per_day = cause.failures_per_device_day * n_devices + cause.failures_per_job_day
        rate_s = per_day / DAY_S / (1 + cause.followers)
        if cause.scope != "job":
            rate_s *= fleet.n_units / fleet.n_nodes
        for cohort in cohorts.members:
            factor = 1.0 if cause.scope == "job" else cohort.rate_factor
            share = cohort.size / cohorts.n_units * factor
            parts += [
                _Part(cause, cohort, rate_s * share * phase.share, phase.shape)
                for phase in cause.life
                if share > 0
            ]
    return parts


def recorded_failures(
    outages: tuple[Outage, ...], causes: dict[str, FailureCause]
) -> tuple[Failure, ...]:
    """Return recorded outages in the order of time; `causes` are those of their classes."""
    return tuple(
        Failure(outage.start_s, causes[outage.cause], outage.node, back_s=outage.end_s)
        for outage in sorted(outages, key=lambda outage: (outage.start_s, outage.node))
    )


def _constant(
    parts: list[_Part], cohorts: Cohorts, generator: np.random.Generator
) -> Iterator[Failure]:
    """Yield the events of all parts of constant rate from one clock."""
    rates = np.array([part.rate_per_s for part in parts])
    thresholds = np.cumsum(rates) / rates.sum()
    thresholds[-1] = 1.0
    causes = [part.cause for part in parts]
    firsts, sizes = np.array([(part.cohort.first, part.cohort.size) for part in parts]).T
    taken_away = np.array([_share_removed(cause) for cause in causes])
    burst = 1 / (1 + np.array([cause.followers for cause in causes]))
    time_s = 0.0
    while True:
        times = time_s + np.cumsum(generator.exponential(1 / rates.sum(), _CHUNK))
        chosen = np.searchsorted(thresholds, generator.random(_CHUNK), side="right")
        places = (generator.random(_CHUNK) * sizes[chosen]).astype(np.int64)
        nodes = cohorts.units(firsts[chosen] + places)
        removes = generator.random(_CHUNK) < taken_away[chosen]
        followers = np.zeros(_CHUNK, dtype=np.int64)
        if burst.min() < 1:
            followers = generator.geometric(burst[chosen]) - 1
        columns = (
            times.tolist(),
            [causes[part] for part in chosen.tolist()],
            nodes.tolist(),
            followers.tolist(),
            removes.tolist(),
            repeat(None),
        )
        yield from map(partial(tuple.__new__, Failure), zip(*columns, strict=False))
        time_s = float(times[-1])


def _share_removed(cause: FailureCause) -> float:
    """Share of the events that take their nodes away."""
    return 0.0 if cause.scope == "job" else cause.repair_fraction


def _ageing(
    part: _Part, devices_per_node: int, cohorts: Cohorts, generator: np.random.Generator
) -> Iterator[Failure]:
    """Yield the events of parts that are of one age at first and as new after they failed."""
    n_parts = part.cohort.size * devices_per_node
    scale_s = float(weibull_scale(n_parts / part.rate_per_s, part.shape))
    hazard = (part.cohort.age_s / scale_s) ** part.shape
    original = _Originals(n_parts)
    renewed: list[tuple[float, int]] = []
    while True:
        first_s = np.inf
        if original.n_left:
            grown = hazard + generator.exponential() / original.n_left
            first_s = scale_s * grown ** (1 / part.shape) - part.cohort.age_s
        while renewed and renewed[0][0] <= first_s:
            time_s, number = renewed[0]
            heapq.heapreplace(renewed, (time_s + scale_s * generator.weibull(part.shape), number))
            yield _ageing_failure(time_s, part, number // devices_per_node, cohorts, generator)
        hazard = grown
        number = original.take(int(generator.random() * original.n_left))
        heapq.heappush(renewed, (first_s + scale_s * generator.weibull(part.shape), number))
        yield _ageing_failure(first_s, part, number // devices_per_node, cohorts, generator)


class _Originals:
    """The numbers 0 .. n-1, from which some are taken at random; stores only those moved."""

    def __init__(self, n: int) -> None:
        self.n_left = n
        self._moved: dict[int, int] = {}

    def take(self, position: int) -> int:
        """Take out the number at a position; the last one moves there."""
        self.n_left -= 1
        number = self._moved.get(position, position)
        last = self._moved.pop(self.n_left, self.n_left)
        if position != self.n_left:
            self._moved[position] = last
        return number


def _ageing_failure(
    time_s: float, part: _Part, position: int, cohorts: Cohorts, generator: np.random.Generator
) -> Failure:
    cause = part.cause
    node = int(cohorts.units(part.cohort.first + position))
    removes = generator.random() < _share_removed(cause)
    followers = int(generator.geometric(1 / (1 + cause.followers))) - 1 if cause.followers else 0
    return Failure(time_s, cause, node, followers, removes)
