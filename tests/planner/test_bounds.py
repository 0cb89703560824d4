"""The bounds of the search are below every plan's time, and real prices give the same answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from planner.bounds import StepFloor, fill_shares, least_fill_shares
from planner.objective import Outlook
from planner.pricing import Pricing
from planner.space import Space
from planner.sweep import bounded, sweep
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.cost.plan_table import FloatArray, PlanTable
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.scenario import GoalSpec, Scenario
from simulator.spec.schedules import ScheduleName

Make = Callable[..., Scenario]

CASES = [
    ("llama2-7b", "a100-sxm-80gb:8", 32),
    ("llama3-70b", "h200-sxm-141gb:16", 16),
    ("mixtral-8x7b", "h100-sxm:16", 32),
    ("gpt3-175b", "a100-sxm-80gb:24", 24),
    ("llama2-13b", "a100-sxm-80gb:24", 24),
]


def scenario_of(model: str, cluster: str, batch: int, goal: GoalSpec | None = None) -> Scenario:
    return Scenario(
        name="bounds",
        model=find_model(model),
        cluster=parse_cluster(cluster),
        job=JobSpec(tokens=10**9, sequence_length=2048, global_batch_sequences=batch),
        goal=goal or GoalSpec(),
    )


def test_bounds_of_memory_leave_something_out() -> None:
    scenario = scenario_of("llama3-70b", "h100-sxm:32", 32)
    pricing = Pricing.of(scenario)
    least_bytes = pricing.least_bytes(Space.of(scenario).cores().table)
    assert 0.05 < (least_bytes <= pricing.allowed_bytes).mean() < 0.7


REPLAYED: tuple[ScheduleName, ...] = ("looped-bfs", "zero-bubble", "zb-v", "zb-h2", "dualpipe-v")


@pytest.mark.parametrize(
    ("case", "schedule"),
    [(case, None) for case in CASES] + [(CASES[-1], name) for name in REPLAYED],
)
def test_no_plan_is_below_its_bounds(
    case: tuple[str, str, int], schedule: ScheduleName | None
) -> None:
    scenario = scenario_of(*case)
    limits = scenario.limits.model_copy(update={"schedule": schedule})
    scenario = scenario.model_copy(update={"limits": limits})
    pricing, space = Pricing.of(scenario), Space.of(scenario)
    rng = np.random.default_rng(0)
    cores = space.cores()
    floor = pricing.floor(cores.table)
    some = np.sort(
        rng.choice(len(cores), size=min(len(cores), 60 if schedule is None else 10), replace=False)
    )
    table, core = cores.plans(some)
    steps = pricing.steps(table)
    step_s = steps.step_s
    shares = fill_shares(table)
    assert (floor.take(core).with_fill(shares) <= step_s * (1 + 1e-9)).all()
    least_bytes = bounded(pricing, cores)[2][core, table.zero_stage]
    assert (least_bytes <= pricing.peak_bytes(table) * (1 + 1e-9)).all()
    least = least_fill_shares(cores.table, scenario.model, space.schedules)
    assert (least[core] <= shares).all()
    outlook, promise = pricing.outlook(table, steps), pricing.promise(table, step_s)
    assert (promise.calendar_s <= outlook.calendar_s).all()
    assert promise.cost_usd is not None
    assert outlook.cost_usd is not None
    assert (promise.cost_usd <= outlook.cost_usd * (1 + 1e-9)).all()
    assert promise.energy_j is not None
    assert outlook.energy_j is not None
    assert (promise.energy_j <= outlook.energy_j * (1 + 1e-9)).all()


@dataclass
class Unbounded:
    """The same prices, promising nothing: every plan is priced."""

    pricing: Pricing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pricing, name)

    def floor(self, table: PlanTable) -> StepFloor:
        return StepFloor(work_s=np.zeros(len(table)), fill_s=np.zeros(len(table)))

    def least_bytes(self, table: PlanTable) -> FloatArray:
        return np.zeros((len(table), 4))

    def promise(self, table: PlanTable, step_s: FloatArray) -> Outlook:
        return self.pricing.promise(table, 0.0 * step_s)


@pytest.mark.parametrize("minimize", ["time", "cost", "energy"])
@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case[0])
def test_bounds_change_nothing_but_the_work(case: tuple[str, str, int], minimize: str) -> None:
    scenario = scenario_of(*case, GoalSpec.model_validate({"minimize": minimize}))
    space, pricing = Space.of(scenario), Pricing.of(scenario)
    bounded = sweep(pricing, scenario, space, n_leaders=3, max_priced=10**9, batch_rows=500)
    every = sweep(
        Unbounded(pricing), scenario, space, n_leaders=3, max_priced=10**9, batch_rows=500
    )
    assert bounded.leaders is not None
    assert every.leaders is not None
    assert plans(bounded.leaders.table) == plans(every.leaders.table)
    assert bounded.n_plans == every.n_plans == every.n_priced
    assert bounded.n_priced < every.n_priced


def plans(table: PlanTable) -> list[str]:
    return [table.plan(row, Precision.BF16).model_dump_json() for row in range(len(table))]
