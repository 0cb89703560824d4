"""The finalists of a search, judged by the event simulation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from planner.losses import loses_to
from planner.objective import Outlook, achieved, grade, meets, objective
from simulator.campaign.predict import predict
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import GoalSpec, Scenario

AGREEMENT = 0.02
"""Share by which the two clocks may differ without changing who is simulated."""


@dataclass(frozen=True, slots=True)
class _Finalist:
    plan: PlanSpec
    prediction: Prediction


def confirm(scenario: Scenario, leaders: Outlook, *, top: int) -> tuple[RankedPlan, ...]:
    """Return the best `top` of the leaders by events, best first.

    `leaders` come in the order of the closed form, one per mesh; they are simulated until the next
    one could not enter the ranks.
    """
    goal = scenario.goal
    best: list[_Finalist] = []
    for row, promised in enumerate(objective(goal, leaders)):
        full = len(best) >= top
        if full and promised * (1 - AGREEMENT) > achieved(goal, best[-1].prediction):
            break
        plan = leaders.table.plan(row, scenario.job.precision)
        finalist = _Finalist(plan, predict(scenario, plan, engine="events"))
        if meets(goal, finalist.prediction):
            best = sorted([*best, finalist], key=partial(_place, goal))[:top]
    return _ranked(best)


def _place(goal: GoalSpec, one: _Finalist) -> tuple[float, float]:
    """Return what finalists are sorted by: near-ties by the memory that they leave free."""
    return float(grade(achieved(goal, one.prediction))), one.prediction.step.peak_memory_bytes


def _ranked(finalists: list[_Finalist]) -> tuple[RankedPlan, ...]:
    ranked: list[RankedPlan] = []
    for rank, one in enumerate(finalists, start=1):
        line = RankedPlan(rank=rank, plan=one.plan, prediction=one.prediction)
        reason = loses_to(line, ranked[-1]) if ranked else ""
        ranked.append(line.model_copy(update={"loses_to": reason}))
    return tuple(ranked)
