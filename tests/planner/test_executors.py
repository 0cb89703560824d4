"""Columns of plans are refused exactly as single plans are."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from planner.executors import runnable
from planner.space import Space
from simulator.cost.plan_table import PlanTable
from simulator.spec.base import Precision
from simulator.spec.recompute import RecomputeReach
from simulator.spec.scenario import Scenario
from simulator.spec.target import TARGETS, Target

COLUMNS = tuple(field.name for field in fields(PlanTable))
STRICT = Target(
    name="strict",
    description="refuses whatever a target can refuse",
    schedules=("gpipe",),
    zero_stages=(1, 3),
    zero_stages_with_pp=(1,),
    recomputes=RecomputeReach(proposed=("none",)),
    max_cp=2,
    max_ep=2,
    dp_replicate_with_shard=False,
    uneven_stages=False,
)


@pytest.mark.parametrize("target", [*TARGETS.values(), STRICT], ids=lambda target: target.name)
def test_same_answer_as_for_one_plan(
    make_scenario: Callable[..., Scenario], target: Target
) -> None:
    scenario = make_scenario(n_devices=8, batch=8, n_experts=4)
    for table in Space.of(scenario).tables():
        answers = runnable(target, scenario, table, COLUMNS)
        for row in range(0, len(table), 17):
            plan = table.plan(row, Precision.BF16)
            refusal = target.plan_refusal(scenario.model, scenario.job, plan)
            assert answers[row] == (refusal is None), (plan, refusal)
