import dataclasses

import numpy as np
import pytest

from simulator.catalog import find_model, find_software
from simulator.catalog.cluster import build_cluster, parse_short_form
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.cost.step_costs import LayerTime
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import RecomputeName
from simulator.spec.schedules import ScheduleName
from simulator.step.closed_form import step_times
from simulator.step.step_times import StepTimes

CLUSTER = build_cluster(parse_short_form("a100:64"))
JOB = JobSpec(sequence_length=2048, global_batch_sequences=64)
MODEL = find_model("gpt3-175b")


def times(plan: PlanSpec) -> StepTimes:
    table = PlanTable.of([plan])
    costs = price_step(MODEL, CLUSTER, JOB, find_software("default"), table)
    return step_times(costs, table, MODEL)


def test_parts_add_up_to_the_step() -> None:
    found = times(PlanSpec(pp=8, tp=8, n_microbatches=64, sequence_parallel=True))
    assert found.breakdown(0).total_s == pytest.approx(float(found.step_s[0]), rel=1e-12)


@pytest.mark.parametrize(("virtual", "n_micro"), [(1, 16), (1, 64), (3, 16), (3, 64)])
def test_bubble_of_even_stages_is_p_minus_1_over_v_m(virtual: int, n_micro: int) -> None:
    # Narayanan et al., arXiv 2104.04473, section 2.2. Embedding and head make stages uneven, and
    # are left out here.
    schedule: ScheduleName = "interleaved-1f1b" if virtual > 1 else "1f1b"
    plan = PlanSpec(pp=8, tp=8, virtual_stages=virtual, schedule=schedule, n_microbatches=n_micro)
    table = PlanTable.of([plan])
    costs = price_step(MODEL, CLUSTER, JOB, find_software("default"), table)
    nothing = dataclasses.replace(
        costs.embedding,
        forward=_zero(costs.embedding.forward),
        backward=_zero(costs.embedding.backward),
        reduce_s=np.zeros(1),
        gather_s=np.zeros(1),
    )
    costs = dataclasses.replace(costs, embedding=nothing, head=nothing)
    found = step_times(costs, table, MODEL)
    work = found.forward_s + found.backward_s + found.tp_s
    assert found.bubble_s / work == pytest.approx(7 / (virtual * n_micro))


def _zero(layer_time: LayerTime) -> LayerTime:
    zeros = {field.name: np.zeros(1) for field in dataclasses.fields(layer_time)}
    return dataclasses.replace(layer_time, **zeros)


def test_uneven_stages_are_paced_by_the_slowest() -> None:
    model = MODEL.model_copy(update={"n_layers": 97})
    plan = PlanSpec(pp=8, tp=8, n_microbatches=64)
    table = PlanTable.of([plan])

    def step_s(model: ModelSpec) -> float:
        software = find_software("default")
        return float(
            step_times(price_step(model, CLUSTER, JOB, software, table), table, model).step_s[0]
        )

    # 13 instead of 12 layers on one stage, which also holds the embedding.
    assert step_s(model) / step_s(MODEL) > 1.03


@pytest.mark.parametrize(
    ("recompute", "sequence_parallel", "measured_s"),
    [("full", False, 18.13), ("selective", True, 13.75)],
)
def test_gpt3_on_64_a100(
    recompute: RecomputeName, sequence_parallel: bool, measured_s: float
) -> None:
    # Korthikanti et al., arXiv 2205.05198, table 5.
    job = JOB.model_copy(update={"attention": "unfused"})
    plan = PlanSpec(
        pp=8,
        tp=8,
        virtual_stages=3,
        schedule="interleaved-1f1b",
        n_microbatches=64,
        sequence_parallel=sequence_parallel,
        recompute=recompute,
    )
    table = PlanTable.of([plan])
    costs = price_step(MODEL, CLUSTER, job, find_software("default"), table)
    assert float(step_times(costs, table, MODEL).step_s[0]) == pytest.approx(measured_s, rel=0.08)
