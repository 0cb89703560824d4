"""The closed form against the event simulation, over random legal plans of real models.

The formulas serve the search; the recurrence answers for one plan, and for schedules that have no
formula.
"""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from simulator.catalog import find_model, find_software, list_names
from simulator.catalog.cluster import parse_cluster
from simulator.cost.plan_table import PlanTable
from simulator.cost.step import price_step
from simulator.spec.cluster import ClusterSpec
from simulator.spec.job import JobSpec
from simulator.spec.legality import violations
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName
from simulator.step.closed_form import step_times
from simulator.step.events import simulate_step
from simulator.step.recurrence import recurrence_times

MODELS = [
    find_model(name)
    for name in (
        "llama3-8b",
        "llama3-70b",
        "llama3.1-405b",
        "gpt3-175b",
        "mt-nlg-530b",
        "mixtral-8x7b",
        "deepseek-v3",
    )
]
CLUSTERS = [
    parse_cluster(text)
    for text in (
        "h100-sxm:64",
        "h100-sxm:512",
        "h100-sxm:4096",
        "a100-sxm-80gb:128",
        "a100-sxm-40gb:1024",
        "b200-sxm-180gb:256",
    )
]
SOFTWARE = [name for name in list_names("software") if name != "torchtitan-fused-loss"]
"""All whose steps differ: that one differs from torchtitan in memory only."""
MAX_PASSES = 6000
SCHEDULE_NAMES: list[ScheduleName] = ["1f1b", "1f1b", "interleaved-1f1b", *SCHEDULE_TRAITS]
"""Of every schedule, more of what is used most."""


@dataclass(frozen=True)
class Case:
    model: ModelSpec
    cluster: ClusterSpec
    job: JobSpec
    plan: PlanSpec

    @property
    def regular(self) -> bool:
        """Whether all chunks hold the same number of layers, and a pipeline keeps its weights."""
        even = len(set(self.plan.chunk_layers(self.model.n_layers))) == 1
        return even and (self.plan.pp == 1 or self.plan.zero_stage < 3)

    def errors(self) -> tuple[float, float]:
        """What the search and what a prediction has over the events, less one."""
        table = PlanTable.of([self.plan])
        software = find_software(self.job.software)
        costs = price_step(self.model, self.cluster, self.job, software, table)
        step = simulate_step(costs, self.plan, self.model)
        events_s = step.step_s
        assert step.breakdown.total_s == pytest.approx(events_s, rel=1e-9)
        division = self.plan.chunk_layers(self.model.n_layers)
        searched, predicted = (
            float(times(costs, table, self.model, division).step_s[0]) / events_s - 1.0
            for times in (step_times, recurrence_times)
        )
        return searched, predicted


def random_case(rng: random.Random) -> Case | None:
    """Draw a plan; None when it is not legal."""
    model, cluster = rng.choice(MODELS), rng.choice(CLUSTERS)
    tp, cp = rng.choice([1, 2, 4, 8]), rng.choice([1, 1, 1, 2, 4])
    pp = rng.choice([1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 35])
    dp = cluster.n_devices // (tp * cp * pp)
    zero_stage = rng.choice([0, 1, 2, 3])
    dp_replicate = (2 - dp % 2 if rng.random() < 0.3 else 1) if zero_stage else max(1, dp)
    schedule = rng.choice(SCHEDULE_NAMES) if pp > 1 else "1f1b"
    traits = SCHEDULE_TRAITS[schedule]
    virtual = [v for v in (1, 2, 3, 4, 7) if traits.fewest_chunks <= v <= traits.most_chunks]
    n_microbatches = pp * rng.choice([1, 2, 3, 4, 8, 16, 32])
    if pp > 1 and not traits.whole_rounds and rng.random() < 0.3:
        n_microbatches = max(1, n_microbatches + rng.randint(1 - pp, pp))
    try:
        plan = PlanSpec.model_validate(
            {
                "pp": pp,
                "tp": tp,
                "cp": cp,
                "ep": rng.choice([1, 2, 4, 8]) if model.moe else 1,
                "dp_replicate": dp_replicate,
                "dp_shard": dp // dp_replicate,
                "zero_stage": zero_stage,
                "sequence_parallel": tp > 1 and rng.random() < 0.7,
                "schedule": schedule,
                "virtual_stages": rng.choice(virtual),
                "microbatch_sequences": rng.choice([1, 1, 2, 4]),
                "n_microbatches": n_microbatches,
                "recompute": rng.choice(["none", "selective", "full"]),
            }
        )
    except ValueError:
        return None
    job = JobSpec(
        sequence_length=rng.choice([2048, 4096, 8192]),
        global_batch_sequences=plan.batch_sequences,
        software=rng.choice(SOFTWARE),
    )
    if violations(model, job, plan, n_devices=cluster.n_devices):
        return None
    if plan.n_chunks * plan.n_microbatches > MAX_PASSES:
        return None
    return Case(model, cluster, job, plan)


def cases(count: int, seed: int) -> list[Case]:
    rng = random.Random(seed)
    found: list[Case] = []
    while len(found) < count:
        case = random_case(rng)
        if case is not None:
            found.append(case)
    return found


@pytest.mark.parametrize(
    ("count", "seed"), [(200, 0), pytest.param(2000, 1, marks=pytest.mark.slow)]
)
def test_both_clocks_agree(count: int, seed: int) -> None:
    """Predictions within 2 % of the events; the search nearly always."""
    drawn = cases(count, seed)
    searched, predicted = np.abs([case.errors() for case in drawn]).T
    regular = np.array([case.regular for case in drawn])
    assert np.max(predicted) < 0.02
    assert np.mean(predicted) < 0.0005
    assert np.mean(searched[regular] < 0.02) > 0.98
    assert np.mean(searched[regular]) < 0.002
    assert np.mean(searched < 0.02) > 0.94
    assert np.max(searched) < 0.15
    assert np.mean(searched) < 0.006


@pytest.mark.parametrize("recompute", ["every-2", "first-1", "groups-of-2", "layernorm", "moe"])
def test_both_clocks_agree_on_recompute(recompute: str) -> None:
    """Of some layers and of parts of layers."""
    changed = [
        replace(case, plan=case.plan.model_copy(update={"recompute": recompute}))
        for case in cases(12, seed=2)
    ]
    legal = [
        case
        for case in changed
        if not violations(case.model, case.job, case.plan, n_devices=case.cluster.n_devices)
    ]
    assert legal
    assert max(abs(case.errors()[1]) for case in legal) < 0.02
