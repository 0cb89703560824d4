"""The step of one plan, as a result one can print: time, parts, memory and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from simulator.catalog import software_of
from simulator.cost.chunk_memory import plan_memory
from simulator.cost.flops import model_flops_per_token
from simulator.cost.flow_factors import flow_factors
from simulator.cost.groups import AxisName, axis_group
from simulator.cost.input_pipeline import input_flow
from simulator.cost.kernels import FULL_PRECISIONS
from simulator.cost.measured_kernels import Lookups
from simulator.cost.memory import memory_breakdown
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.cost.step_costs import StepCosts
from simulator.cost.uncertainty import step_factor
from simulator.schedule import Schedule
from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import AxisLinks, Interval, StepBreakdown, StepPrediction
from simulator.spec.scenario import Scenario
from simulator.step.assumptions import step_assumptions
from simulator.step.events import simulate_step
from simulator.step.meetings import Meetings, column_lag_s
from simulator.step.memory_track import MemoryTrack, memory_tracks
from simulator.step.recurrence import recurrence_times
from simulator.step.spans import Span, Trace
from simulator.step.stragglers import Stragglers

Engine = Literal["closed-form", "events"]

INSTANT_S = 1e-9
"""A shorter mean wait for data is none: the tail of a distribution."""


def predict_step(
    scenario: Scenario,
    plan: PlanSpec,
    *,
    engine: Engine = "closed-form",
    schedule: Schedule | None = None,
) -> StepPrediction:
    """Predict one training step of a plan; by events, also with another order of its passes."""
    model, cluster = scenario.model, scenario.cluster
    job = scenario.job.model_copy(update={"precision": plan.precision})
    software = software_of(job)
    lookups = Lookups()
    factors = _link_factors(scenario, plan)
    costs = _priced(scenario, plan, lookups, factors)
    stragglers = Stragglers.of(scenario.stragglers, plan, scenario.seed)
    clock = ENGINES[engine] if schedule is None else partial(events, schedule=schedule)
    breakdown = _fed(scenario, plan, clock(costs, plan, model, stragglers))
    step_s = breakdown.total_s
    flops = model_flops_per_token(model, job.sequence_length) * job.batch_tokens
    per_device = flops / step_s / plan.n_ranks
    wide = plan.precision if plan.precision in FULL_PRECISIONS else Precision.BF16
    factor = step_factor(cluster, model, software, plan.n_ranks)
    return StepPrediction(
        step_s=step_s,
        interval_step_s=Interval(low=step_s / factor, high=step_s * factor),
        engine=engine,
        mfu=per_device / cluster.device.peak.of(wide),
        model_flops_per_device_per_s=per_device,
        tokens_per_s=job.batch_tokens / step_s,
        breakdown=breakdown,
        memory=memory_breakdown(model, cluster, job, software, plan),
        memory_capacity_bytes=cluster.device.memory_bytes,
        memory_factor=software.memory.interval_factor,
        basis=cluster.basis,
        kernels=lookups.of_table(cluster.kernels.name) if cluster.kernels is not None else None,
        links=_axis_links(cluster, plan),
        assumptions=step_assumptions(scenario, factors) + _of_another_order(plan, schedule),
    )


def _of_another_order(plan: PlanSpec, schedule: Schedule | None) -> tuple[str, ...]:
    if schedule is None:
        return ()
    return (f"passes in the order of {schedule.name}; memory is that of {plan.schedule}",)


def _fed(scenario: Scenario, plan: PlanSpec, breakdown: StepBreakdown) -> StepBreakdown:
    """Return the parts of the step with its wait for data."""
    if scenario.input is None:
        return breakdown
    cluster = scenario.cluster
    flow = input_flow(
        scenario.input,
        scenario.job,
        step_s=breakdown.total_s,
        n_nodes=-(-plan.n_ranks // cluster.devices_per_node),
        cores_per_node=cluster.host.n_cores,
    )
    stall_s = float(flow.stall_s[0])
    return breakdown.model_copy(update={"input_s": stall_s if stall_s > INSTANT_S else 0.0})


def step_costs(scenario: Scenario, plan: PlanSpec) -> StepCosts:
    """Return the price list of one step of a plan."""
    return _priced(scenario, plan, None, _link_factors(scenario, plan))


def _link_factors(scenario: Scenario, plan: PlanSpec) -> dict[AxisName, float]:
    """How much slower the plan's links are than by level, where the cluster asks for flows."""
    if scenario.cluster.link_model == "levels":
        return {}
    return flow_factors(scenario.cluster, plan, mixture=scenario.model.moe is not None)


def _priced(
    scenario: Scenario,
    plan: PlanSpec,
    lookups: Lookups | None,
    factors: Mapping[AxisName, float],
) -> StepCosts:
    job = scenario.job.model_copy(update={"precision": plan.precision})
    software, table = software_of(job), PlanTable.of([plan])
    return price_step(scenario.model, scenario.cluster, job, software, table, lookups, factors)


def traced_step(
    scenario: Scenario, plan: PlanSpec, schedule: Schedule | None = None
) -> tuple[Span, ...]:
    """Return what happens when in one step, on every pipeline rank, by the event simulation.

    The step ends with its mean wait for the data of the next one.
    """
    trace = Trace()
    stragglers = Stragglers.of(scenario.stragglers, plan, scenario.seed)
    costs = step_costs(scenario, plan)
    step = simulate_step(
        costs, plan, scenario.model, schedule=schedule, trace=trace, stragglers=stragglers
    )
    fed_s = _fed(scenario, plan, step.breakdown).total_s
    for rank in range(plan.pp):
        trace.add(rank, "compute", "input", "waiting for data", step.step_s, fed_s)
    return tuple(trace.spans)


def traced_memory(
    scenario: Scenario, plan: PlanSpec, spans: Sequence[Span]
) -> tuple[MemoryTrack, ...]:
    """Return what every pipeline rank holds when, for the spans of `traced_step`."""
    job = scenario.job.model_copy(update={"precision": plan.precision})
    software = software_of(job)
    memory = plan_memory(scenario.model, scenario.cluster, job, software, plan)
    return memory_tracks(memory, spans)


def closed_form(
    costs: StepCosts, plan: PlanSpec, model: ModelSpec, stragglers: Stragglers
) -> StepBreakdown:
    """Return the parts of the step by the recurrence of the plan's schedule.

    Jitter makes every pass as long as the slowest of the ranks that wait in it is expected to be,
    and the step as late as the slowest column.
    """
    table, division = PlanTable.of([plan]), plan.chunk_layers(model.n_layers)
    pace = stragglers.expected_pace()
    found = []
    for stages in stragglers.slow_stages:
        adjust = partial(stragglers.slowed, plan=plan, slow_stages=stages, pace=pace)
        times = recurrence_times(costs, table, model, division, adjust)
        found.append(times.breakdown(0))
    slowest = max(found, key=lambda breakdown: breakdown.total_s)
    computing_s = slowest.forward_s + slowest.backward_s + slowest.recompute_s
    meetings = Meetings.of(table)
    lag_s = column_lag_s(np.array([computing_s]), table, meetings, stragglers.jitter)
    return slowest.model_copy(update={"other_s": slowest.other_s + float(lag_s[0])})


def events(
    costs: StepCosts,
    plan: PlanSpec,
    model: ModelSpec,
    stragglers: Stragglers,
    schedule: Schedule | None = None,
) -> StepBreakdown:
    """Return the parts of the step by the event simulation."""
    step = simulate_step(costs, plan, model, schedule=schedule, stragglers=stragglers)
    return step.breakdown


ENGINES: dict[Engine, Callable[[StepCosts, PlanSpec, ModelSpec, Stragglers], StepBreakdown]] = {
    "closed-form": closed_form,
    "events": events,
}
"""The clocks that put the price list of a step on a time line."""


def _axis_links(cluster: ClusterSpec, plan: PlanSpec) -> tuple[AxisLinks, ...]:
    """Return which links the groups along every axis in use cross."""
    table = PlanTable.of([plan])
    axes: tuple[AxisName, ...] = ("tp", "cp", "ep", "dp_shard", "dp_replicate", "pp")
    groups = {axis: axis_group(cluster, table, axis) for axis in axes}
    return tuple(
        AxisLinks(
            axis=axis,
            n_ranks=int(group.size[0]),
            blocks={
                level.name: int(level.fan_out[0]) for level in group.levels if level.fan_out[0] > 1
            },
        )
        for axis, group in groups.items()
        if group.size[0] > 1
    )
