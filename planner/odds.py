"""How likely a plan is to meet the deadline and the budget."""

from __future__ import annotations

from simulator.spec.base import Spec
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import GoalSpec


class Odds(Spec):
    """Probabilities, of the step's time and of single campaigns together."""

    deadline: float | None
    """Of finishing in time; None without a deadline."""
    budget: float | None
    """Of costing no more; None without a budget."""

    @classmethod
    def of(cls, goal: GoalSpec, prediction: Prediction) -> Odds:
        """Return how likely what is predicted meets a goal."""
        campaign, intervals = prediction.campaign, prediction.intervals
        deadline = budget = None
        if goal.finish_within is not None:
            time = intervals["calendar_s"]
            deadline = time.share_below(goal.finish_within, campaign.calendar_s)
        if goal.budget is not None and campaign.cost_usd is not None:
            budget = intervals["cost_usd"].share_below(goal.budget, campaign.cost_usd)
        return cls(deadline=deadline, budget=budget)
