"""One training step by events: what the closed form says in formulas, replayed in time.

Ranks of one tensor-, context- and data-parallel group do the same at the same time, so one pipeline
column is simulated, and the cost does not grow with the number of devices. A SimPy process per
pipeline rank works through the rank's row of the schedule; activations and gradients travel over
links between ranks; weights are gathered and gradients reduced on a second stream beside compute.
"""

from __future__ import annotations

from dataclasses import dataclass

import simpy

from simulator.cost.step_costs import StepCosts
from simulator.schedule import Schedule, actions_of
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import StepBreakdown
from simulator.step.chunk_costs import ChunkCosts, add_parts, chunk_costs, first_row
from simulator.step.links import Links
from simulator.step.rank import Rank, SyncCosts
from simulator.step.spans import Span, Trace


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
) -> EventStep:
    """Return the time of one step of `plan`, whose prices are the first row of `costs`.

    Another `schedule` than the plan's may be given, for as many chunks and microbatches; `trace`
    collects what happened when.
    """
    schedule = actions_of(plan) if schedule is None else _fitting(schedule, plan)
    chunks = chunk_costs(costs, plan, model)
    environment = simpy.Environment()
    links = Links(
        environment,
        schedule,
        transfer_s=first_row(costs.p2p_s),
        overlap=first_row(costs.p2p_overlap),
        trace=trace,
    )
    sync = SyncCosts(
        overlap=first_row(costs.dp_overlap),
        gather_every_pass=bool(first_row(costs.gather_every_pass)),
        reduce_every_microbatch=bool(first_row(costs.reduce_every_microbatch)),
        contention=first_row(costs.dp_contention),
    )
    ranks = [
        Rank(environment, index, row, chunks, links, sync, trace)
        for index, row in enumerate(schedule.ranks)
    ]
    processes = [environment.process(rank.run()) for rank in ranks]
    environment.run(environment.all_of(processes))
    return _outcome(costs, schedule, chunks, ranks, trace)


def _fitting(schedule: Schedule, plan: PlanSpec) -> Schedule:
    has = (schedule.pp, schedule.n_chunks, schedule.n_microbatches)
    needs = (plan.pp, plan.n_chunks, plan.n_microbatches)
    if has != needs:
        raise InputError(
            f"schedule {schedule.name} is for (ranks, chunks, microbatches) = {has}, and the plan "
            f"has {needs}"
        )
    return schedule


def _outcome(
    costs: StepCosts,
    schedule: Schedule,
    chunks: tuple[ChunkCosts, ...],
    ranks: list[Rank],
    trace: Trace | None,
) -> EventStep:
    """Put optimizer and constants behind the slowest rank; the gradient norm waits for all."""
    optimizer_s = first_row(costs.optimizer_s)
    constant_s = first_row(costs.step_constant_s)
    critical = max(ranks, key=lambda rank: rank.finished_s)
    ready_s = critical.finished_s
    timed_s = ready_s + optimizer_s
    growth_s = timed_s * (first_row(costs.scale_factor) - 1.0)
    parts = add_parts(
        part.times(schedule.n_microbatches)
        for chunk in critical.held_chunks
        for part in (chunks[chunk].forward, chunks[chunk].backward)
    )
    breakdown = StepBreakdown(
        **parts._asdict(),
        pp_s=critical.transfer_s,
        dp_s=critical.collective_s,
        bubble_s=critical.bubble_s,
        optimizer_s=optimizer_s,
        other_s=constant_s + growth_s,
    )
    if trace is not None:
        for rank in ranks:
            done_s = ready_s + optimizer_s
            trace.add(Span(rank.index, "compute", "optimizer", "optimizer", ready_s, done_s))
            trace.add(Span(rank.index, "compute", "other", "constant", done_s, done_s + constant_s))
    return EventStep(
        step_s=timed_s + growth_s + constant_s,
        breakdown=breakdown,
        critical_rank=critical.index,
        ranks=tuple(
            RankTimes(
                busy_s=rank.compute_s,
                communication_s=rank.transfer_s + rank.collective_s,
                idle_s=rank.bubble_s + ready_s - rank.finished_s,
                finished_s=rank.finished_s,
            )
            for rank in ranks
        ),
    )
