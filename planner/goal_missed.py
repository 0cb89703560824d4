"""When plans fit and none meets the goal: what would be enough, and which single change helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from planner.changes import (
    Change,
    Changes,
    cheaper_prices,
    faster_precisions,
    fewer_nodes,
    more_devices,
    other_devices,
    without_limits,
)
from planner.fewer_nodes import NewPlans
from planner.finalists import AGREEMENT, Finalist, Judge
from planner.objective import Outlook, meets, total, within_goal
from planner.pricing import Pricing, at_peak
from planner.resilience import Resilience
from planner.space import Space
from planner.sweep import MESH, sweep
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.predict import state_bytes
from simulator.cost.plan_table import PlanTable
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.prediction import CampaignPrediction, Prediction
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.spec.units import (
    COUNT,
    SECONDS,
    PreciseFormat,
    format_apart,
    format_count,
    format_seconds,
    format_usd,
    parse_quantity,
)

N_MESHES = 3
"""The best meshes of the question are tried under every change, instead of all plans."""
MOST_TRIED = 4
"""Changes of one kind that are priced, of those that the peak of their devices allows."""
MOST_ROUNDS = 20
"""Times that fewer tokens are tried."""
NEARER = 0.998
"""Steps in which an amount is rounded until it is one that does."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound of a goal."""

    field: str
    quantity: str
    """What `goal.minimize` calls the quantity that is bounded."""
    superlative: str
    units: dict[str, float]
    shown: Callable[[float], str]

    def least(self, reached: float) -> str:
        """Return the smallest bound, written as in a file, that allows what was reached."""
        return _written(reached, 1 / NEARER, self.units, self.shown)


BOUNDS = (
    Bound("finish_within", "time", "fastest", SECONDS, format_seconds),
    Bound("budget", "cost", "cheapest", COUNT, format_count),
)


@dataclass(frozen=True, slots=True)
class Closest:
    """The best plans where one bound of the goal is given up."""

    bound: Bound
    leaders: Outlook
    finalist: Finalist
    judge: Judge

    @property
    def campaign(self) -> CampaignPrediction:
        """The training under the best of them."""
        return self.finalist.prediction.campaign

    def reached(self, bound: Bound) -> float:
        """Return what the best plan needs of a bounded quantity, by the worse of both clocks."""
        name = "cost_usd" if bound.quantity == "cost" else "calendar_s"
        by_closed_form = getattr(self.leaders, name)
        by_events = total(self.judge.scenario.goal, self.campaign, name)
        assert by_closed_form is not None, "a budget is compared with a price"
        assert by_events is not None, "a budget is compared with a price"
        return max(float(by_closed_form[0]), by_events)


def goal_missed(scenario: Scenario) -> NoFeasiblePlan | None:
    """Return the error for a scenario of which plans fit and none meets deadline and budget.

    It says what would be enough, and which single changes help, each of them priced. None where
    there is no such bound, or no plan without them either.
    """
    bounds = [bound for bound in BOUNDS if getattr(scenario.goal, bound.field) is not None]
    closest = [each for bound in bounds if (each := _without(scenario, bound)) is not None]
    quoted = closest
    if not closest and len(bounds) > 1:
        quoted = [each for each in [_without(scenario, *bounds)] if each is not None]
    if not quoted:
        return None
    lines = [line for each in closest for line in _enough(scenario.goal, each)]
    lines += _fewer_tokens(scenario, bounds, quoted[0])
    lines += _helping(scenario, quoted[0].leaders.table)
    advice = "any one of these helps:" if lines else "no single change that was tried helps"
    return NoFeasiblePlan(
        "no plan meets the goal: " + "; ".join(_quote(scenario, bounds, each) for each in quoted),
        fix=advice + "".join(f"\n  {line}" for line in lines),
    )


def _without(scenario: Scenario, *bounds: Bound) -> Closest | None:
    """Return the best plans without some bounds of the goal, by what the first one bounds."""
    free = {bound.field: None for bound in bounds} | {"minimize": bounds[0].quantity}
    relaxed = scenario.model_copy(update={"goal": scenario.goal.model_copy(update=free)})
    pricing, space = Pricing.of(relaxed), Space.of(relaxed)
    leaders = sweep(pricing, relaxed, space, n_leaders=N_MESHES).leaders
    if leaders is None:
        return None
    plan = leaders.table.plan(0, scenario.job.precision)
    judge = Judge(relaxed, pricing.resilience, NewPlans())
    return Closest(bounds[0], leaders, judge.with_spread(judge.judge(plan)), judge)


def _quote(scenario: Scenario, bounds: list[Bound], closest: Closest) -> str:
    goal, campaign = scenario.goal, closest.campaign
    needs: dict[str, tuple[float | None, PreciseFormat]] = {
        "time": (total(goal, campaign, "calendar_s"), format_seconds),
        "cost": (total(goal, campaign, "cost_usd"), format_usd),
    }
    limits = {bound.quantity: bound for bound in bounds}
    reached: list[str] = []
    asked: list[str] = []
    for quantity, (amount, form) in needs.items():
        if amount is None:
            continue
        words = form(amount)
        if quantity in limits:
            field = limits[quantity].field
            words, limit = format_apart(amount, getattr(goal, field), form)
            asked.append(f"goal.{field} is {limit}")
        verb = "takes" if quantity == "time" else "costs"
        reached.insert(0 if quantity == closest.bound.quantity else 1, f"{verb} {words}")
    kept = f", which {goal.at_quantile:.3g} of campaigns keep" if goal.at_quantile else ""
    return (
        f"the {closest.bound.superlative} ({closest.finalist.plan.label()}) "
        f"{' and '.join(reached)}{kept}, and {' and '.join(asked)}"
    )


def _outcome(goal: GoalSpec, campaign: CampaignPrediction) -> str:
    calendar_s, cost_usd = (total(goal, campaign, name) for name in ("calendar_s", "cost_usd"))
    assert calendar_s is not None, "every campaign takes time"
    return _done(calendar_s, cost_usd)


def _done(calendar_s: float, cost_usd: float | None) -> str:
    cost = "" if cost_usd is None else f" for {format_usd(cost_usd)}"
    return f"done in {format_seconds(calendar_s)}{cost}"


def _enough(goal: GoalSpec, closest: Closest) -> Iterator[str]:
    """Yield the bound that would do, where the others are met."""
    bound = closest.bound
    others = goal.model_copy(update={bound.field: None})
    reached = closest.reached(bound)
    if meets(others, closest.finalist.prediction) and math.isfinite(reached):
        enough = bound.least(reached)
        yield f"goal.{bound.field}={enough}: {_outcome(goal, closest.campaign)}"


def _fewer_tokens(scenario: Scenario, bounds: list[Bound], closest: Closest) -> Iterator[str]:
    """Yield the tokens that the best plan trains on within the goal."""
    plan, step = closest.finalist.plan, closest.finalist.prediction.step
    size = state_bytes(scenario, plan)
    share = min(getattr(scenario.goal, bound.field) / closest.reached(bound) for bound in bounds)
    for _ in range(MOST_ROUNDS):
        tokens = _written(share * scenario.job.tokens, NEARER, COUNT, format_count)
        count = int(parse_quantity(tokens, COUNT, "count"))
        if count < scenario.job.batch_tokens:
            return
        job = scenario.job.model_copy(update={"tokens": count})
        fewer = scenario.model_copy(update={"job": job})
        judge = replace(closest.judge, scenario=fewer)
        campaign = predict_campaign(fewer, plan, step, state_bytes=size, replan=judge.replan)
        one = judge.with_spread(Finalist(plan, Prediction(step=step, campaign=campaign)))
        if meets(_stricter(fewer).goal, one.prediction):
            yield f"job.tokens={tokens}: {_outcome(fewer.goal, one.prediction.campaign)}"
            return
        share *= 1 - AGREEMENT  # what it costs to start does not become less


def _helping(scenario: Scenario, meshes: PlanTable) -> Iterator[str]:
    """Yield the changes of the scenario that help, the smallest of each kind."""
    for change in _promising(without_limits(scenario)):
        best = best_outlook(_stricter(change.scenario))
        if best is not None:
            yield from _line(change, best)
    kinds: tuple[Changes, ...] = (
        cheaper_prices,
        faster_precisions,
        more_devices,
        fewer_nodes,
        other_devices,
    )
    for kind in kinds:
        for change in islice(_promising(kind(scenario)), MOST_TRIED):
            best = _best_of(_stricter(change.scenario), meshes)
            if best is not None and (lines := _line(change, best)):
                yield from lines
                break


def _promising(changes: Iterator[Change]) -> list[Change]:
    """Return the changes under which the peak of the devices would meet the goal."""
    allowed = []
    for change in changes:
        try:
            peak = at_peak(change.scenario)
        except InputError:  # a price or a power is not known there
            continue
        if peak is not None and within_goal(change.scenario.goal, peak)[0]:
            allowed.append(change)
    return allowed


def _stricter(scenario: Scenario) -> Scenario:
    """Return the scenario with bounds that a plan meets by either clock."""
    goal = scenario.goal
    values = {bound.field: getattr(goal, bound.field) for bound in BOUNDS}
    closer = {name: value * (1 - AGREEMENT) for name, value in values.items() if value is not None}
    return scenario.model_copy(update={"goal": goal.model_copy(update=closer)})


def best_outlook(scenario: Scenario) -> Outlook | None:
    """Return the best plan within the goal, by closed form."""
    try:
        return sweep(Pricing.of(scenario), scenario, Space.of(scenario), n_leaders=1).leaders
    except InputError:  # the target cannot do the changed job
        return None


def _best_of(scenario: Scenario, meshes: PlanTable) -> Outlook | None:
    """Return the best plan of the first of some meshes that has one within the goal."""
    for row in range(len(meshes)):
        pinned = {axis: int(getattr(meshes, axis)[row]) for axis in MESH}
        limits = scenario.limits.model_copy(update=pinned)
        best = best_outlook(scenario.model_copy(update={"limits": limits}))
        if best is not None:
            return best
    return None


def _line(change: Change, best: Outlook) -> list[str]:
    """Say what the best plan does after a change; nothing where simulated intervals still miss."""
    scenario = change.scenario
    if scenario.goal.at_quantile is None:
        cost_usd = None if best.cost_usd is None else float(best.cost_usd[0])
        return [f"{change.what}: {_done(float(best.calendar_s[0]), cost_usd)}"]
    judge = Judge(scenario, Resilience.of(scenario), NewPlans())
    one = judge.with_spread(judge.judge(best.table.plan(0, scenario.job.precision)))
    if not meets(scenario.goal, one.prediction):
        return []
    return [f"{change.what}: {_outcome(scenario.goal, one.prediction.campaign)}"]


def _written(
    value: float, factor: float, units: dict[str, float], shown: Callable[[float], str]
) -> str:
    """Return a value as one writes it, rounded upwards or downwards as the factor goes."""
    amount = value
    while True:
        text = shown(amount).replace(" ", "").replace(",", "")
        back = parse_quantity(text, units, "amount")
        if (back >= value) if factor > 1 else (back <= value):
            return text
        amount *= factor
