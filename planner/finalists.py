"""The finalists of a search, judged by the event simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from planner.losses import loses_to
from planner.objective import NEAR_TIE, Outlook, achieved, grade, meets, objective
from planner.resilience import Resilience
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.predict import state_bytes, with_known_spread
from simulator.campaign.shapes import Replanner
from simulator.campaign.spread import MUCH_WAITING
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import Prediction, StepPrediction
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.step.predict import predict_step

FASTEST_TRIED = 3
"""Meshes among which the fastest step is looked for."""

MORE_SPARES = (1.1, 1.25, 1.5)
"""Over the number that is best in the mean, those that are tried where a quantile counts, as long
as each is better than the one before."""
SOME_WAITING = 0.001
"""Share of the time, waiting for nodes, from which its spread counts at a quantile."""

AGREEMENT = 0.02
"""Share by which the two clocks may differ without changing who is simulated."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """A plan with all of its decisions, and its prediction."""

    plan: PlanSpec
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Judge:
    """Times the steps of plans by events, and decides what they do about failures."""

    scenario: Scenario
    resilience: Resilience
    replan: Replanner
    """Plans anew for the nodes that are left."""
    better: Callable[[PlanSpec], tuple[PlanSpec, ...]] = lambda _: ()
    """What may beat the best uniform plan of a mesh."""
    _steps: dict[PlanSpec, StepPrediction] = field(default_factory=dict)

    def step(self, plan: PlanSpec) -> StepPrediction:
        """Return the step of a plan."""
        if plan not in self._steps:
            self._steps[plan] = predict_step(self.scenario, plan, engine="events")
        return self._steps[plan]

    def judge(self, plan: PlanSpec) -> Finalist:
        """Return the plan with all of its decisions, and what it leads to."""
        step = self.step(plan)
        return self._finalist(self.resilience.decide(plan, step, self.replan), step)

    def _finalist(self, plan: PlanSpec, step: StepPrediction) -> Finalist:
        size = state_bytes(self.scenario, plan)
        campaign = predict_campaign(self.scenario, plan, step, state_bytes=size, replan=self.replan)
        return Finalist(plan, Prediction(step=step, campaign=campaign))

    def best_of_mesh(self, plan: PlanSpec) -> Finalist:
        """Return the best of a uniform plan and what may beat it."""
        goal = self.scenario.goal
        return min(map(self.judge, (plan, *self.better(plan))), key=partial(_place, goal))

    def with_spread(self, one: Finalist) -> Finalist:
        """Return the finalist with simulated intervals where the closed form has none that hold.

        At a quantile it may take more spares: nodes are waited for longer in some campaigns than
        the mean says.
        """
        goal, plan = self.scenario.goal, one.plan
        one = self._simulated(one)
        open_to_more = self.scenario.reliability.spares == "best" and plan.recovery == "wait"
        if goal.at_quantile is None or plan.n_spare_nodes is None or not open_to_more:
            return one
        few = plan.n_spare_nodes
        for number in dict.fromkeys(max(math.ceil(by * few), few + 1) for by in MORE_SPARES):
            if number > self.scenario.cluster.n_nodes:
                break
            more = plan.model_copy(update={"n_spare_nodes": number})
            other = self._simulated(self._finalist(more, one.prediction.step))
            now = achieved(goal, one.prediction)
            better = achieved(goal, other.prediction) < now * (1 - NEAR_TIE)  # inf is not
            if not better or meets(goal, one.prediction) > meets(goal, other.prediction):
                break
            one = other
        return one

    def _simulated(self, one: Finalist) -> Finalist:
        waiting = MUCH_WAITING if self.scenario.goal.at_quantile is None else SOME_WAITING
        known = with_known_spread(self.scenario, one.plan, one.prediction, much_waiting=waiting)
        return Finalist(one.plan, known)


def confirm(judge: Judge, leaders: Outlook, *, top: int) -> tuple[RankedPlan, ...]:
    """Return the best `top` of the leaders by events, best first.

    `leaders` come in the order of the closed form, one per mesh; they are simulated until the next
    one could not enter the ranks. At a quantile the simulated interval says who meets the goal.
    """
    goal = judge.scenario.goal
    in_the_mean = goal.at_quantile is None
    best: list[Finalist] = []
    for row, promised in enumerate(objective(goal, leaders)):
        full = len(best) >= top
        if full and promised * (1 - AGREEMENT) > achieved(goal, best[-1].prediction):
            break
        finalist = judge.best_of_mesh(leaders.table.plan(row, judge.scenario.job.precision))
        if not in_the_mean:
            finalist = judge.with_spread(finalist)
        if meets(goal, finalist.prediction):
            best = sorted([*best, finalist], key=partial(_place, goal))[:top]
    return _ranked([judge.with_spread(one) for one in best] if in_the_mean else best)


def if_nothing_failed(judge: Judge, fastest: Outlook, ranked: tuple[RankedPlan, ...]) -> RankedPlan:
    """Return the plan of the fastest step by events: the best one, or what failures cost it.

    `fastest` come in the order of the closed form, as the leaders do.
    """
    first = ranked[0]
    best_s, best = first.prediction.step.fed_step_s, None
    for row, promised_s in enumerate(fastest.step_s[:FASTEST_TRIED]):
        if promised_s * (1 - AGREEMENT) > best_s:
            break
        plan = fastest.table.plan(row, judge.scenario.job.precision)
        if grade(judge.step(plan).fed_step_s) < grade(best_s):
            best_s, best = judge.step(plan).fed_step_s, plan
    if best is None:
        return first
    one, goal = judge.with_spread(judge.judge(best)), judge.scenario.goal
    if achieved(goal, one.prediction) <= achieved(goal, first.prediction) * (1 + NEAR_TIE):
        return first
    same = [each for each in ranked if each.plan == one.plan]
    line = same[0] if same else RankedPlan(rank=0, plan=one.plan, prediction=one.prediction)
    return line.model_copy(update={"loses_to": loses_to(line, first)})


def _place(goal: GoalSpec, one: Finalist) -> tuple[float, float]:
    """Return what finalists are sorted by: near-ties by the memory that they leave free."""
    return float(grade(achieved(goal, one.prediction))), one.prediction.step.peak_memory_bytes


def _ranked(finalists: list[Finalist]) -> tuple[RankedPlan, ...]:
    ranked: list[RankedPlan] = []
    for rank, one in enumerate(finalists, start=1):
        line = RankedPlan(rank=rank, plan=one.plan, prediction=one.prediction)
        reason = loses_to(line, ranked[0]) if ranked else ""
        ranked.append(line.model_copy(update={"loses_to": reason}))
    return tuple(ranked)
