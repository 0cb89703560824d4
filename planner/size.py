"""How many devices of which kind: the counts that meet a deadline or a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from planner.changes import with_device, with_devices
from planner.counts import MOST_DEVICES, has_power, round_counts
from planner.front import unbeaten
from planner.limits import allows
from planner.objective import within_goal
from planner.odds import Odds
from planner.pricing import at_peak
from planner.result import PredictionSummary
from planner.search import find_plans
from planner.size_missed import nearest_sizes
from simulator.catalog import find_device
from simulator.spec.base import Spec
from simulator.spec.choice import Within
from simulator.spec.errors import InputError, NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import GoalSpec, Minimized, Scenario

if TYPE_CHECKING:
    import pandas as pd

LARGEST_FACTOR = 4
"""Counts beyond this many times the smallest one that does are not looked at."""


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
    kinds = devices or (scenario.cluster.device.name,)
    options: list[SizeOption] = []
    without: list[str] = []
    for kind in kinds:
        found = _options_of(asked, kind)
        options += found
        without += [] if found else [kind]
    if not options:
        raise NoFeasiblePlan(
            f"no number of {' or '.join(kinds)} up to {MOST_DEVICES:,} meets the goal"
            + nearest_sizes(asked, lambda each: _nearest(each, kinds)),
            fix="allow more time or money, or other --devices",
        )
    return Sizing(
        options=tuple(options),
        fewest=min(options, key=lambda one: (one.n_devices, one.prediction.calendar_s)),
        fastest=min(options, key=lambda one: one.prediction.calendar_s),
        cheapest=_least(options, lambda one: one.prediction.cost_usd),
        greenest=_least(options, lambda one: one.prediction.energy_j),
        front=_front(options),
        without_answer=tuple(without),
    )


def _nearest(scenario: Scenario, kinds: tuple[str, ...]) -> list[SizeOption]:
    """Return the counts of all kinds; in search of the least time, until more are not faster."""
    factor = float("inf") if scenario.goal.minimize == "time" else LARGEST_FACTOR
    return [one for kind in kinds for one in _options_of(scenario, kind, largest_factor=factor)]


def _options_of(
    scenario: Scenario, kind: str, *, largest_factor: float = LARGEST_FACTOR
) -> list[SizeOption]:
    """Return the counts of one kind that meet the goal, from the smallest on.

    Adding devices stops where it no longer helps: at several times the smallest count, or when a
    larger one is not faster.
    """
    found: list[SizeOption] = []
    least_s = float("inf")
    for sized in _sizes(scenario, kind):
        n_devices = sized.cluster.n_devices
        if found and n_devices > largest_factor * found[0].n_devices:
            break
        result = find_plans(sized, top=1)
        if result is None:
            continue
        best = result.best
        option = SizeOption(
            device=sized.cluster.device.name,
            n_devices=n_devices,
            paid_devices=best.prediction.campaign.paid_devices,
            plan=best.plan,
            prediction=PredictionSummary.of(best.prediction),
            odds=Odds.of(scenario.goal, best.prediction),
        )
        if scenario.goal.minimize == "time" and option.prediction.calendar_s >= least_s:
            break
        least_s = option.prediction.calendar_s
        found.append(option)
    return found


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
