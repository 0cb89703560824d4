"""When nothing answers: by how much the nearest plan misses, and which single change helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from planner.changes import (
    Change,
    fewer_devices,
    larger_devices,
    more_devices,
    other_batches,
    shorter_sequences,
    smaller_gradients,
    without_limits,
)
from planner.fewer_nodes import NewPlans
from planner.finalists import Judge
from planner.objective import Outlook
from planner.pricing import Pricing, memory_margin
from planner.resilience import Resilience
from planner.space import Space
from planner.sweep import sweep
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.spec.units import format_bytes, format_seconds, format_usd

MAX_PRICED_IN_A_TRIAL = 20_000_000

Changes = Callable[[Scenario], Iterator[Change]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The plan that needs least memory."""

    plan: PlanSpec
    peak_bytes: float
    allowed_bytes: float

    @property
    def fits(self) -> bool:
        """Whether memory allows it."""
        return self.peak_bytes <= self.allowed_bytes


def nearest_plan(scenario: Scenario) -> Nearest | None:
    """Return the legal plan that needs least memory, or None when no plan is legal.

    Memory never grows with recompute nor shrinks with the microbatch, so only the smallest
    microbatch with full recompute is looked at where the limits leave them open.
    """
    limits = scenario.limits
    lean = limits.model_copy(
        update={
            "microbatch_sequences": limits.microbatch_sequences or 1,
            "recompute": limits.recompute or "full",
        }
    )
    pricing = Pricing.of(scenario)
    best: Nearest | None = None
    for table in Space.of(scenario.model_copy(update={"limits": lean})).tables():
        peak_bytes = pricing.peak_bytes(table)
        row = int(peak_bytes.argmin())
        if best is None or peak_bytes[row] < best.peak_bytes:
            best = Nearest(
                plan=table.plan(row, scenario.job.precision),
                peak_bytes=float(peak_bytes[row]),
                allowed_bytes=pricing.allowed_bytes,
            )
    return best


def no_legal_plan(scenario: Scenario) -> NoFeasiblePlan:
    """Return the error for a scenario of which no plan meets the rules, with what helps."""
    model, job, n_devices = scenario.model, scenario.job, Space.of(scenario).n_devices
    message = (
        f"no plan is legal on {n_devices} devices: pp x dp x cp x tp must be {n_devices}, where "
        f"dp divides the batch of {job.batch_sequences} sequences, tp divides the "
        f"{model.n_heads} heads and ffn_size={model.ffn_size}, "
        f"{'2 x ' if model.causal else ''}cp divides the sequence of {job.sequence_length} tokens, "
        f"and pp is at most {model.n_layers} layers"
    )
    kinds: tuple[Changes, ...] = (without_limits, other_batches, fewer_devices)
    return NoFeasiblePlan(message, fix=_advice(scenario, kinds, _legal))


def nothing_fits(scenario: Scenario, nearest: Nearest) -> NoFeasiblePlan:
    """Return the error for a scenario of which no plan fits in memory, with what helps."""
    capacity_bytes = scenario.limits.memory or scenario.cluster.device.memory_bytes
    message = (
        f"no plan fits: the nearest needs {_of(nearest)} ({nearest.plan.label()}; "
        f"{format_bytes(capacity_bytes)} less a margin of {memory_margin(scenario):.0%})"
    )
    kinds: tuple[Changes, ...] = (
        without_limits,
        smaller_gradients,
        shorter_sequences,
        larger_devices,
        more_devices,
    )
    return NoFeasiblePlan(message, fix=_advice(scenario, kinds, _fitting))


def goal_missed(scenario: Scenario) -> NoFeasiblePlan:
    """Return the error for a scenario whose deadline or budget no plan meets, with what helps."""
    found = _quickest(scenario.model_copy(update={"goal": GoalSpec()}))
    assert found is not None, "plans that fit exist, and without a goal all of them are feasible"
    plan = found.table.plan(0, scenario.job.precision)
    best = Judge(scenario, Resilience.of(scenario), NewPlans()).judge(plan).prediction.campaign
    missed = []
    goal, cost_usd = scenario.goal, best.cost_usd
    if goal.finish_within is not None and best.calendar_s > goal.finish_within:
        deadline = format_seconds(goal.finish_within)
        missed.append(
            f"takes {format_seconds(best.calendar_s)}, and goal.finish_within is {deadline}"
        )
    if goal.budget is not None and cost_usd is not None and cost_usd > goal.budget:
        missed.append(f"costs {format_usd(cost_usd)}, and goal.budget is {format_usd(goal.budget)}")
    kinds: tuple[Changes, ...] = (without_limits, more_devices)
    return NoFeasiblePlan(
        f"no plan meets the goal: the fastest ({plan.label()}) {' and '.join(missed)}",
        fix=_advice(scenario, kinds, _in_time),
    )


def _advice(
    scenario: Scenario, kinds: tuple[Changes, ...], works: Callable[[Scenario], str | None]
) -> str:
    """Return the smallest change of each kind that works, each of them tried out."""
    lines = []
    for kind in kinds:
        for change in kind(scenario):
            outcome = works(change.scenario)
            if outcome is not None:
                lines.append(f"\n  {change.what}: {outcome}")
                if kind is not without_limits:
                    break
    if not lines:
        return "no single change that was tried helps"
    return "any one of these helps:" + "".join(lines)


def _legal(scenario: Scenario) -> str | None:
    n_plans = sum(int(cores.counts.sum()) for cores in Space.of(scenario).cores())
    return f"{n_plans:,} plans are legal" if n_plans else None


def _fitting(scenario: Scenario) -> str | None:
    try:
        nearest = nearest_plan(scenario)
    except InputError:  # the changed scenario asks for what its device does not have
        return None
    return f"needs {_of(nearest)}" if nearest is not None and nearest.fits else None


def _in_time(scenario: Scenario) -> str | None:
    best = _quickest(scenario)
    if best is None:
        return None
    cost = "" if best.cost_usd is None else f" for {format_usd(best.cost_usd[0])}"
    return f"done in {format_seconds(best.calendar_s[0])}{cost}"


def _quickest(scenario: Scenario) -> Outlook | None:
    """Return the best plan within the goal, by closed form."""
    pricing, space = Pricing.of(scenario), Space.of(scenario)
    found = sweep(pricing, scenario, space, n_leaders=1, max_priced=MAX_PRICED_IN_A_TRIAL)
    return found.leaders


def _of(nearest: Nearest) -> str:
    return f"{format_bytes(nearest.peak_bytes)} of {format_bytes(nearest.allowed_bytes)}"
