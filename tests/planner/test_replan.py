"""What plans anew is priced by the plans that it would find, on every screen."""

from __future__ import annotations

import re
from typing import Any

import pytest

from planner.decisions import decision_reasons
from planner.fewer_nodes import NewPlans
from planner.imports import read_settings
from planner.search import search
from simulator.campaign.predict import predict
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.job import JobSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.reliability import ReliabilitySpec
from simulator.spec.scenario import GoalSpec, PlanLimits, Scenario
from simulator.spec.units import format_seconds

AT_BEST = "the closed form lets every node that is left do as much as before under a new plan"
SETTINGS = """
--tensor-model-parallel-size 8 --sequence-parallel --use-distributed-optimizer --bf16
--micro-batch-size 1 --global-batch-size 64
"""


def ask(**goal: Any) -> Scenario:
    """Four nodes, of which three make no plan of the same batch that is as good."""
    return Scenario(
        name="anew",
        model=find_model("llama3-8b"),
        cluster=parse_cluster("h100-sxm:32"),
        job=JobSpec(tokens=10**11, sequence_length=4096, global_batch_sequences=64),
        limits=PlanLimits(tp=8, cp=1, recompute="none"),
        goal=GoalSpec.model_validate(goal),
        reliability=ReliabilitySpec(
            recovery="replan",
            spares=0,
            failures_per_device_day=0.02,
            restart_s=300.0,
            repair_s=2 * 86400.0,
        ),
    )


@pytest.fixture(scope="module")
def planned() -> PlanFile:
    return search(ask(), top=1).plan_file()


def test_the_chosen_interval_is_not_beaten_by_another(planned: PlanFile) -> None:
    interval, *_ = decision_reasons(planned.scenario, planned.plan, planned.prediction)
    changes = [float(change) for change in re.findall(r"([-+][\d.]+) %", interval)]
    assert len(changes) == 2
    assert all(0 <= change < 1 for change in changes)


def test_settings_of_somebody_are_priced_as_the_best_plan_is(planned: PlanFile) -> None:
    mine = read_settings(SETTINGS, "mine.sh", "megatron", planned).plan_file
    again = predict(mine.scenario, mine.plan, engine="events", replan=NewPlans())
    assert mine.prediction == again
    assert AT_BEST not in mine.prediction.campaign.assumptions
    assert AT_BEST in predict(mine.scenario, mine.plan).campaign.assumptions


def test_fewer_tokens_are_as_many_as_new_plans_can_do(planned: PlanFile) -> None:
    within_s = 0.8 * planned.prediction.campaign.calendar_s
    with pytest.raises(NoFeasiblePlan) as caught:
        search(ask(finish_within=within_s), top=1)
    (tokens, said) = re.findall(r"job\.tokens=([\d.]+)B: done in (.*) for", str(caught.value))[0]
    job = planned.scenario.job.model_copy(update={"tokens": int(float(tokens) * 1e9)})
    fewer = ask(finish_within=within_s).model_copy(update={"job": job})
    calendar_s = search(fewer, top=1).best.prediction.campaign.calendar_s
    assert format_seconds(calendar_s) == said
