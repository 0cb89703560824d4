"""When no number of devices meets deadline and budget: the nearest ones, and which bound binds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.scenario import GoalSpec, Minimized, Scenario
from simulator.spec.units import PreciseFormat, format_apart, format_seconds, format_usd

if TYPE_CHECKING:
    from planner.size import SizeOption

OptionsOf = Callable[[Scenario], "list[SizeOption]"]


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound of the goal, and the sizes nearest to it."""

    field: str
    name: str
    minimize: Minimized
    superlative: str
    kept: str
    """What the nearest one is in, where this bound is the other one."""
    form: PreciseFormat

    def amount(self, option: SizeOption) -> float:
        """Return what an option needs of it."""
        known = option.prediction
        amount = known.calendar_s if self.minimize == "time" else known.cost_usd
        assert amount is not None, "whoever prices plans makes sure of a price"
        return amount


_BOUNDS = (
    _Bound("budget", "budget", "cost", "cheapest", "within the budget", format_usd),
    _Bound("finish_within", "deadline", "time", "fastest", "in time", format_seconds),
)


def nearest_sizes(scenario: Scenario, options_of: OptionsOf) -> str:
    """Return the end of the sentence that no number meets the goal; empty where none runs at all.

    Each bound is given up in turn: the best of what is possible then misses that one only.
    """
    bounds = [bound for bound in _BOUNDS if getattr(scenario.goal, bound.field) is not None]
    missed = {bound: _without(scenario, options_of, bound) for bound in bounds}
    answers = [_quote(scenario.goal, bound, missed[bound], bounds) for bound in bounds
               if missed[bound]]  # fmt: skip
    if not answers:
        return ""
    binding = ""
    if len(bounds) > 1:
        names = [bound.name for bound in bounds if missed[bound]]
        one = f"the {names[0]} binds" if len(names) == 1 else "each can be met, not both"
        binding = f" ({one})"
    return f"{binding}: " + "; ".join(answers)


def _without(scenario: Scenario, options_of: OptionsOf, bound: _Bound) -> list[SizeOption]:
    free = {bound.field: None, "minimize": bound.minimize}
    goal = scenario.goal.model_copy(update=free)
    return options_of(scenario.model_copy(update={"goal": goal}))


def _quote(goal: GoalSpec, bound: _Bound, options: list[SizeOption], bounds: list[_Bound]) -> str:
    best = min(options, key=bound.amount)
    reached, asked = format_apart(bound.amount(best), getattr(goal, bound.field), bound.form)
    others = [f" {other.kept}" for other in bounds if other is not bound]
    words = (
        f"the {bound.superlative}{''.join(others)} is {_named(best)} with {reached}, and the "
        f"{bound.name} is {asked}"
    )
    fastest = min(options, key=lambda one: one.prediction.calendar_s)
    if bound.minimize == "cost":
        words += f" (done in {format_seconds(best.prediction.calendar_s)}"
        if fastest is not best:
            words += (
                f"; the fastest looked at, {_named(fastest)}, in "
                f"{format_seconds(fastest.prediction.calendar_s)}"
            )
        words += ")"
    return words


def _named(option: SizeOption) -> str:
    return f"{option.n_devices:,} x {option.device}"
