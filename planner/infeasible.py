"""When no plan fits: by how much the nearest one misses, and which single change helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from planner.changes import (
    Changes,
    fewer_devices,
    larger_devices,
    limits_set,
    more_devices,
    other_batches,
    shorter_sequences,
    smaller_gradients,
    without_limit,
    without_limits,
)
from planner.pricing import Pricing, memory_margin
from planner.refusals import OF_A_MESH, refused_meshes
from planner.space import Space
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.units import format_bytes, format_share

MOST_REASONS = 3
"""Rules that are said to refuse meshes, those that refuse most."""


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
    message = f"no plan is legal on {n_devices} devices: "
    named = _conflicting(scenario)
    if named:
        texts = " and ".join(named.values())
        message += f"nothing is left by {texts}" + " together" * (len(named) > 1)
    else:
        message += (
            f"pp x dp x cp x tp must be {n_devices}, where "
            f"dp divides the batch of {job.batch_sequences} sequences, tp divides the "
            f"{model.n_heads} heads and ffn_size={model.ffn_size}, "
            f"{'2 x ' if model.causal else ''}cp divides the sequence of {job.sequence_length} "
            f"tokens, and pp is at most {model.n_layers} layers"
        )
    n_meshes, refusals = refused_meshes(Space.of(scenario))
    if refusals and named.keys() <= set(OF_A_MESH):
        most = [f"{each.n_meshes:,} by {each.reason}" for each in refusals[:MOST_REASONS]]
        message += f"; of {n_meshes:,} meshes with a microbatch are refused " + ", ".join(most)
    kinds: tuple[Changes, ...] = (without_limits, other_batches, fewer_devices)
    return NoFeasiblePlan(message, fix=_advice(scenario, kinds, _legal))


def _conflicting(scenario: Scenario) -> dict[str, str]:
    """Return limits that together leave no plan, none of them needlessly, as `limits_set` does.

    None where there is no plan without limits either.
    """
    names = limits_set(scenario)
    if _legal(reduce(without_limit, names, scenario)) is None:
        return {}
    needed = {}
    for name, text in names.items():
        fewer = without_limit(scenario, name)
        if _legal(fewer) is None:
            scenario = fewer
        else:
            needed[name] = text
    return needed


def nothing_fits(scenario: Scenario, nearest: Nearest) -> NoFeasiblePlan:
    """Return the error for a scenario of which no plan fits in memory, with what helps."""
    capacity_bytes = scenario.limits.memory or scenario.cluster.device.memory_bytes
    message = (
        f"no plan fits: the nearest needs {_of(nearest)} ({nearest.plan.label()}; "
        f"{format_bytes(capacity_bytes)} less a margin of {format_share(memory_margin(scenario))})"
    )
    kinds: tuple[Changes, ...] = (
        without_limits,
        smaller_gradients,
        shorter_sequences,
        larger_devices,
        more_devices,
    )
    return NoFeasiblePlan(message, fix=_advice(scenario, kinds, _fitting))


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
    n_plans = int(Space.of(scenario).cores().counts.sum())
    return f"{n_plans:,} plans are legal" if n_plans else None


def _fitting(scenario: Scenario) -> str | None:
    try:
        nearest = nearest_plan(scenario)
    except InputError:  # the changed scenario asks for what its device does not have
        return None
    return f"needs {_of(nearest)}" if nearest is not None and nearest.fits else None


def _of(nearest: Nearest) -> str:
    return f"{format_bytes(nearest.peak_bytes)} of {format_bytes(nearest.allowed_bytes)}"
