"""How many devices of which kind: the counts that meet a deadline or a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from planner.changes import with_device, with_devices
from planner.counts import MOST_DEVICES, has_power, round_counts
from planner.fewer_nodes import NewPlans
from planner.finalists import Judge
from planner.front import unbeaten
from planner.goal_missed import best_outlook
from planner.limits import allows
from planner.objective import Outlook, within_goal
from planner.odds import Odds
from planner.offers import Offered, offered
from planner.pricing import Pricing, at_peak
from planner.result import PredictionSummary
from planner.search import find_plans
from planner.size_missed import nearest_sizes
from simulator.campaign.site import site_needs
from simulator.catalog import find_device
from simulator.spec.base import Spec
from simulator.spec.choice import Within
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction, StepPrediction
from simulator.spec.scenario import GoalSpec, Minimized, Scenario
from simulator.spec.site import SiteNeeds

if TYPE_CHECKING:
    import pandas as pd

LARGEST_FACTOR = 4
"""Counts beyond this many times the smallest one that does are not looked at."""
MANY_KINDS = 4
"""Kinds from which on they are searched in processes of their own."""
FAR_APART = 4
"""Counts that are passed over at first in search of the fastest: there are two per doubling."""


class SizeOption(Spec):
    """One kind and number of devices that does, with its best plan."""

    device: str
    n_devices: int
    paid_devices: float
    """With the spares, on average."""
    plan: PlanSpec
    prediction: PredictionSummary
    odds: Odds
    """Probabilities of meeting the deadline and the budget."""
    needs: SiteNeeds
    offers: tuple[Offered, ...] = ()
    """What it costs by every known offer: of the cheapest number of each kind, and of those that
    are best at something."""


class Sizing(Spec):
    """What `armillary size --json` prints."""

    version: Literal[1] = 1
    options: tuple[SizeOption, ...]
    """All that were found, by kind and number."""
    fewest: SizeOption
    fastest: SizeOption
    """Of those found: numbers beyond LARGEST_FACTOR times the fewest are not looked at."""
    cheapest: SizeOption | None
    """None where no price is known."""
    greenest: SizeOption | None
    """None where no power is known."""
    front: tuple[SizeOption, ...]
    """Options that no other one beats in time, money, energy and number at once, fastest first."""
    without_answer: tuple[str, ...]
    """Kinds of device of which no number does."""

    def best_by(self, minimize: Minimized) -> SizeOption:
        """Return the one to plan on: the greenest where energy counts, or else the cheapest."""
        wanted = self.greenest if minimize in ("energy", "carbon") else self.cheapest
        return wanted or self.fewest

    def to_frame(self) -> pd.DataFrame:
        """Return one row per option, in SI units."""
        import pandas as pd

        rows = [
            one.model_dump(include={"device", "n_devices", "paid_devices"})
            | {"plan": one.plan.label()}
            | one.prediction.row()
            | {f"{name}_probability": odds for name, odds in one.odds}
            | {"on_front": one in self.front}
            | {f"needs_{name}": amount for name, amount in one.needs}
            for one in self.options
        ]
        return pd.DataFrame(rows)


def size(
    scenario: Scenario,
    *,
    finish_within: float | None = None,
    budget: float | None = None,
    devices: tuple[str, ...] = (),
) -> Sizing:
    """Return the numbers of devices with which a training meets a deadline (s) and a budget ($).

    The plan of each number is the best one by the scenario's goal: least time, cost or energy.

    `devices` are catalog names; without them it is the scenario's own kind. Unset, deadline and
    budget are the scenario's. Raises InputError without either, because then the cheapest is one
    device for ever; NoFeasiblePlan when no number does.
    """
    bounds = {
        "finish_within": finish_within or scenario.goal.finish_within,
        "budget": budget or scenario.goal.budget,
    }
    goal = GoalSpec.model_validate({**dict(scenario.goal), **bounds})
    if goal.finish_within is None and goal.budget is None:
        raise InputError(
            "neither a deadline nor a budget: the fewest devices would be one, for ever",
            fix="give --finish-within or --budget",
        )
    asked = scenario.model_copy(update={"goal": goal})
    kinds = tuple(dict.fromkeys(devices)) or (scenario.cluster.device.name,)
    by_kind = _all_kinds(asked, kinds)
    options = _compared([found for kind in by_kind for found in kind])
    if not options:
        means = "time, money or power" if goal.power_cap else "time or money"
        raise NoFeasiblePlan(
            f"no number of {' or '.join(kinds)} up to {MOST_DEVICES:,} meets the goal"
            + nearest_sizes(asked, lambda each: _nearest(each, kinds)),
            fix=f"allow more {means}, or other --devices",
        )
    return Sizing(
        options=tuple(options),
        fewest=_fewest(options),
        fastest=_fastest(options),
        cheapest=_least(options, lambda one: one.prediction.cost_usd),
        greenest=_least(options, lambda one: one.prediction.energy_j),
        front=_front(options),
        without_answer=tuple(kind for kind, found in zip(kinds, by_kind, strict=True) if not found),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """An option, and what it was found for."""

    option: SizeOption
    scenario: Scenario
    step: StepPrediction

    @classmethod
    def of(cls, sized: Scenario, plan: PlanSpec, prediction: Prediction) -> _Found:
        """Return the best plan of a scenario as an option."""
        option = SizeOption(
            device=sized.cluster.device.name,
            n_devices=sized.cluster.n_devices,
            paid_devices=prediction.campaign.paid_devices,
            plan=plan,
            prediction=PredictionSummary.of(prediction),
            odds=Odds.of(sized.goal, prediction),
            needs=site_needs(sized, plan, prediction.campaign),
        )
        return cls(option, sized, prediction.step)

    def with_offers(self) -> SizeOption:
        """Return the option with what it costs by every known offer."""
        offers = offered(self.scenario, self.option.plan, self.step)
        return self.option.model_copy(update={"offers": offers})


def _all_kinds(scenario: Scenario, kinds: tuple[str, ...]) -> list[list[_Found]]:
    """Return the counts of every kind that meet the goal; many kinds side by side."""
    if len(kinds) < MANY_KINDS:
        return [_options_of(scenario, kind) for kind in kinds]
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=-1)(delayed(_options_of)(scenario, kind) for kind in kinds))


def _compared(found: list[_Found]) -> list[SizeOption]:
    """Return the options, those that lead with what they cost by all offers."""
    options = [each.option for each in found]
    if not options:
        return []
    leading = [
        _fewest(options),
        _fastest(options),
        _least(options, lambda one: one.prediction.energy_j),
    ]
    for device in dict.fromkeys(one.device for one in options):
        of_kind = [one for one in options if one.device == device]
        leading.append(_least(of_kind, lambda one: one.prediction.cost_usd))
    return [each.with_offers() if each.option in leading else each.option for each in found]


def _nearest(scenario: Scenario, kinds: tuple[str, ...]) -> list[SizeOption]:
    """Return counts of all kinds; the fastest of each in search of the least time."""
    if scenario.goal.minimize != "time":
        return [each.option for found in _all_kinds(scenario, kinds) for each in found]
    fastest = [_fastest_of(scenario, kind) for kind in kinds]
    return [each.option for each in fastest if each is not None]


def _options_of(scenario: Scenario, kind: str) -> list[_Found]:
    """Return the counts of one kind that meet the goal, from the smallest on.

    Adding devices stops where it no longer helps: at several times the smallest count, or when a
    larger one is not faster.
    """
    found: list[_Found] = []
    least_s = float("inf")
    for sized in _sizes(scenario, kind):
        if found and sized.cluster.n_devices > LARGEST_FACTOR * found[0].option.n_devices:
            break
        result = find_plans(sized, top=1)
        if result is None:
            continue
        one = _Found.of(sized, result.best.plan, result.best.prediction)
        calendar_s = one.option.prediction.calendar_s
        if scenario.goal.minimize == "time" and calendar_s >= least_s:
            break
        least_s = calendar_s
        found.append(one)
    return found


def _fastest_of(scenario: Scenario, kind: str) -> _Found | None:
    """Return the count of one kind that is done first, by closed form until it is known.

    Time falls with the count until adding devices no longer helps: a few counts far apart, then
    those between the neighbours of the best.
    """
    sizes = list(_sizes(scenario, kind))
    middle, least_s = 0, float("inf")
    best: Outlook | None = None
    tried: set[int] = set()

    def faster(position: int) -> bool:
        """Return whether a count, looked at for the first time, is the fastest so far."""
        nonlocal best, least_s, middle
        if position in tried or not 0 <= position < len(sizes):
            return False
        tried.add(position)
        found = best_outlook(_within(sizes[position], least_s))
        if found is None:
            return False
        best, least_s, middle = found, float(found.calendar_s[0]), position
        return True

    for position in range(0, len(sizes), FAR_APART):
        if not faster(position) and best is not None:
            break
    stride = FAR_APART // 2
    while stride:
        if not faster(middle + stride):
            faster(middle - stride)
        stride //= 2
    if best is None:
        return None
    plan = best.table.plan(0, scenario.job.precision)
    judge = Judge(sizes[middle], Pricing.of(sizes[middle]).resilience, NewPlans())
    finalist = judge.with_spread(judge.judge(plan))
    return _Found.of(sizes[middle], finalist.plan, finalist.prediction)


def _within(scenario: Scenario, least_s: float) -> Scenario:
    """Return the scenario with a deadline, if there is one yet."""
    deadline = None if least_s == float("inf") else least_s
    goal = scenario.goal.model_copy(update={"finish_within": deadline})
    return scenario.model_copy(update={"goal": goal})


def _sizes(scenario: Scenario, kind: str) -> Iterator[Scenario]:
    """Yield the scenario on 1, 2, 3, 4, 6, 8, 12 ... nodes, without counts that cannot do."""
    own = kind == scenario.cluster.device.name
    whole = scenario if own else _of_kind(scenario, kind)
    per_node = whole.cluster.device.devices_per_node
    counts = round_counts(per_node)
    if own:
        counts = sorted({*counts, scenario.cluster.n_devices})
    for n_devices in counts:
        try:
            sized = with_devices(whole, n_devices)
        except InputError:  # not whole nodes, or more than a drawn fabric joins
            continue
        if _has_quota(scenario, n_devices) and has_power(sized, n_devices) and not _hopeless(sized):
            yield sized


def _has_quota(scenario: Scenario, n_devices: int) -> bool:
    """Return whether a quota of devices, a rule of limits.devices, allows so many."""
    quota = scenario.limits.devices
    return not isinstance(quota, Within) or bool(allows(quota, np.array([n_devices]))[0])


def _of_kind(scenario: Scenario, kind: str) -> Scenario:
    """Return the scenario on as many devices of a kind; on as many nodes where those are drawn."""
    cluster = scenario.cluster
    graph, n_devices = cluster.fabric.graph, cluster.n_devices
    if graph is not None and graph.host_kind == "node":
        n_devices = cluster.n_nodes * find_device(kind).devices_per_node
    limits = scenario.limits.model_copy(update={"devices": n_devices})
    return with_device(scenario.model_copy(update={"limits": limits}), kind)


def _hopeless(scenario: Scenario) -> bool:
    """Whether even the data sheet's peak would miss the goal."""
    peak = at_peak(scenario)
    return peak is None or not within_goal(scenario.goal, peak)[0]


def _fewest(options: list[SizeOption]) -> SizeOption:
    return min(options, key=lambda one: (one.n_devices, one.prediction.calendar_s))


def _fastest(options: list[SizeOption]) -> SizeOption:
    return min(options, key=lambda one: one.prediction.calendar_s)


def _least(
    options: list[SizeOption], value: Callable[[SizeOption], float | None]
) -> SizeOption | None:
    known = [
        (amount, one.n_devices, at)
        for at, one in enumerate(options)
        if (amount := value(one)) is not None
    ]
    return options[min(known)[2]] if known else None


def _front(options: list[SizeOption]) -> tuple[SizeOption, ...]:
    """Return the options not beaten in time, money, energy and number of devices at once."""

    def criteria(one: SizeOption) -> tuple[float, float, float, int]:
        known = one.prediction
        unknown = float("inf")
        cost_usd, energy_j = known.cost_usd or unknown, known.energy_j or unknown
        return known.calendar_s, cost_usd, energy_j, one.n_devices

    return tuple(options[at] for at in unbeaten(np.array([*map(criteria, options)])))
