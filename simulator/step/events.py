"""One training step by events: what the closed form says in formulas, replayed in time.

A SimPy process per pipeline rank works through the rank's row of the schedule; activations and
gradients travel over links between ranks; weights are gathered and gradients reduced on a second
stream beside compute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import simpy
from simpy.events import ProcessGenerator

from simulator.cost.step_costs import StepCosts
from simulator.schedule import Schedule, actions_of
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepBreakdown
from simulator.spec.schedules import rank_of_chunk
from simulator.step.chunk_costs import ChunkCosts, add_parts, chunk_costs
from simulator.step.column import column_ranks
from simulator.step.links import Input
from simulator.step.rank import Rank
from simulator.step.spans import Trace
from simulator.step.stragglers import Stragglers

NO_STRAGGLERS = Stragglers()
ROUNDING = 1e-12
"""Relative difference of two sums of the same times in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTimes:
    """How one pipeline rank spends the step."""

    busy_s: float
    """Computing, with the exchanges inside layers."""
    communication_s: float
    """Waiting for transfers between stages and for data-parallel collectives."""
    idle_s: float
    """Waiting for other ranks."""
    finished_s: float
    """When its gradients are ready for the optimizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStep:
    """The outcome of one simulated step."""

    step_s: float
    breakdown: StepBreakdown
    """Of the critical rank: the one that is ready last. Adds up to `step_s`."""
    critical_rank: int
    ranks: tuple[RankTimes, ...]


def simulate_step(
    costs: StepCosts,
    plan: PlanSpec,
    model: ModelSpec,
    *,
    schedule: Schedule | None = None,
    trace: Trace | None = None,
    stragglers: Stragglers = NO_STRAGGLERS,
) -> EventStep:
    """Return the time of one step of `plan`, whose prices are the first row of `costs`.

    Another `schedule` than the plan's may be given, for as many chunks and microbatches; `trace`
    collects what happened when. With `stragglers` every different column is simulated, and the
    slowest one is the step.
    """
    schedule = actions_of(plan) if schedule is None else _fitting(schedule, plan)
    chunks = chunk_costs(costs, plan.chunk_layers(model.n_layers), model)
    columns = [
        _Column(stages, number)
        for stages in stragglers.slow_stages
        for number in range(stragglers.n_simulated)
    ]

    def simulated(column: _Column, trace: Trace | None = None) -> list[Rank]:
        held = stragglers.slowed(chunks, plan, column.slow_stages)
        draws = stragglers.draws(column.number, plan.pp)
        clock = _Clock()
        ranks = column_ranks(costs, schedule, held, clock.on_sent, trace, draws)
        clock.run(ranks)
        return ranks

    ready_s = [_ready_s(simulated(column)) for column in columns] if len(columns) > 1 else [0.0]
    slowest = columns[ready_s.index(max(ready_s))]
    ranks = simulated(slowest, trace)
    alike = [
        each
        for each, column in zip(ready_s, columns, strict=True)
        if column.slow_stages == slowest.slow_stages
    ]
    held = stragglers.slowed(chunks, plan, slowest.slow_stages)
    return _outcome(costs, plan.n_microbatches, held, ranks, stragglers.lag_s(alike), trace)


class _Column(NamedTuple):
    """A pipeline column that differs from others."""

    slow_stages: frozenset[int]
    number: int
    """Of its jitter."""


def _ready_s(ranks: list[Rank]) -> float:
    """Return when the gradients of the last rank are ready."""
    return max(float(rank.clock_s) for rank in ranks)


class _Clock:
    """SimPy's clock, and the inputs that ranks wait for."""

    def __init__(self) -> None:
        self._environment = simpy.Environment()
        self._awaited: dict[Input, simpy.Event] = {}

    def run(self, ranks: list[Rank]) -> None:
        """Let all ranks work until the last one is done."""
        processes = [self._environment.process(self._follow(rank)) for rank in ranks]
        self._environment.run(self._environment.all_of(processes))

    def on_sent(self, sent: Input) -> None:
        """Wake the rank that waits for it."""
        event = self._awaited.pop(sent, None)
        if event is not None:
            event.succeed()

    def _follow(self, rank: Rank) -> ProcessGenerator:
        environment = self._environment
        for needed in rank.run():
            if needed is not None:
                event = self._awaited[needed] = environment.event()
                yield event
            else:
                yield environment.timeout(max(0.0, float(rank.clock_s) - environment.now))


def _fitting(schedule: Schedule, plan: PlanSpec) -> Schedule:
    """Return a schedule for as many passes as the plan has, on the ranks where it holds chunks."""
    has = (schedule.pp, schedule.n_chunks, schedule.n_microbatches)
    needs = (plan.pp, plan.n_chunks, plan.n_microbatches)
    if has != needs:
        raise InputError(
            f"schedule {schedule.name} is for (ranks, chunks, microbatches) = {has}, and the plan "
            f"has {needs}"
        )
    for chunk, rank in enumerate(schedule.rank_of_chunk()):
        home = rank_of_chunk(plan.schedule, plan.pp, chunk)
        if rank != home:
            raise InputError(
                f"schedule {schedule.name} has chunk {chunk} on rank {rank}, and the plan "
                f"({plan.schedule}) on rank {home}"
            )
    return schedule


def _outcome(
    costs: StepCosts,
    n_microbatches: int,
    chunks: Sequence[ChunkCosts],
    ranks: list[Rank],
    lag_s: float,
    trace: Trace | None,
) -> EventStep:
    """Put optimizer and constants behind the slowest rank; the gradient norm waits for all.

    What jitter adds to computing, and the lag of columns that were not simulated, is other time.
    """
    optimizer_s = float(costs.optimizer_s[0])
    constant_s = float(costs.step_constant_s[0])
    critical = max(ranks, key=lambda rank: rank.clock_s)
    ready_s = float(critical.clock_s)
    timed_s = ready_s + lag_s + optimizer_s
    growth_s = timed_s * (float(costs.scale_factor[0]) - 1.0)
    parts = add_parts(
        part.times(n_microbatches)
        for chunk in critical.held_chunks
        for part in (chunks[chunk].forward, chunks[chunk].backward)
    )
    slower = not math.isclose(critical.compute_s, parts.total_s, rel_tol=ROUNDING)
    jitter_s = float(critical.compute_s - parts.total_s) if slower else 0.0
    breakdown = StepBreakdown(
        **parts._asdict(),
        pp_s=float(critical.transfer_s),
        dp_s=float(critical.collective_s),
        bubble_s=float(critical.bubble_s),
        optimizer_s=optimizer_s,
        other_s=constant_s + growth_s + jitter_s + lag_s,
    )
    if trace is not None:
        for rank in ranks:
            done_s = ready_s + optimizer_s
            trace.add(rank.index, "compute", "optimizer", "optimizer", ready_s, done_s)
            rest_s = constant_s + growth_s + lag_s
            trace.add(rank.index, "compute", "other", "other", done_s, done_s + rest_s)
    return EventStep(
        step_s=timed_s + growth_s + constant_s,
        breakdown=breakdown,
        critical_rank=critical.index,
        ranks=tuple(
            RankTimes(
                busy_s=float(rank.compute_s),
                communication_s=float(rank.transfer_s + rank.collective_s),
                idle_s=float(rank.bubble_s + ready_s - rank.clock_s),
                finished_s=float(rank.clock_s),
            )
            for rank in ranks
        ),
    )
