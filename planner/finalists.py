"""The finalists of a search, judged by the event simulation."""

from __future__ import annotations

from dataclasses import dataclass

from planner.losses import loses_to
from planner.objective import Outlook, achieved, grade, meets, objective
from simulator.campaign.predict import predict
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import GoalSpec, Scenario


@dataclass(frozen=True, slots=True)
class _Finalist:
    plan: PlanSpec
    prediction: Prediction

    @property
    def mesh(self) -> tuple[int, ...]:
        """Which ranks work together."""
        return mesh_of(self.plan)


def mesh_of(plan: PlanSpec) -> tuple[int, ...]:
    """Return what a mesh is told apart by, with the number of ranks fixed."""
    return plan.pp, plan.cp, plan.tp, plan.ep


def confirm(scenario: Scenario, leaders: Outlook, *, top: int) -> tuple[RankedPlan, ...]:
    """Return the best plan of each of the `top` best meshes by events, best first.

    `leaders` come in the order of the closed form, which is as fast as the events or faster (where
    stages are uneven). So a plan is simulated only if what the closed form promises would bring it
    into the ranks, or before the plans of its mesh that were simulated already.
    """
    goal = scenario.goal
    best: list[_Finalist] = []
    for row, promised in enumerate(objective(goal, leaders)):
        plan = leaders.table.plan(row, scenario.job.precision)
        rivals = [one for one in best if one.mesh == mesh_of(plan)] or best[top - 1 :]
        if any(achieved(goal, rival.prediction) <= promised for rival in rivals):
            continue
        finalist = _Finalist(plan, predict(scenario, plan, engine="events"))
        if meets(goal, finalist.prediction):
            best = _best_of_each_mesh(goal, [*best, finalist])[:top]
    return _ranked(best)


def _best_of_each_mesh(goal: GoalSpec, finalists: list[_Finalist]) -> list[_Finalist]:
    ordered = sorted(
        finalists,
        key=lambda one: (
            grade(achieved(goal, one.prediction)),
            one.prediction.step.peak_memory_bytes,
        ),
    )
    first = {one.mesh: one for one in reversed(ordered)}
    return [one for one in ordered if first[one.mesh] is one]


def _ranked(finalists: list[_Finalist]) -> tuple[RankedPlan, ...]:
    ranked: list[RankedPlan] = []
    for rank, one in enumerate(finalists, start=1):
        line = RankedPlan(rank=rank, plan=one.plan, prediction=one.prediction)
        reason = loses_to(line, ranked[-1]) if ranked else ""
        ranked.append(line.model_copy(update={"loses_to": reason}))
    return tuple(ranked)
