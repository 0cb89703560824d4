"""Plans of four ranks drawn from all that `armillary plan --target armillary` may propose."""

from __future__ import annotations

import random
from collections.abc import Iterator

from planner.space import Space
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.scenario import PlanLimits, Scenario
from tests.runtime.plans import CLUSTER, TINY
from tests.runtime.plans_equal import BATCH, DEEPSEEK, GPT, MIXTRAL, NEOX, QWEN, Case

MODELS = (DEEPSEEK, TINY, MIXTRAL, QWEN, GPT, NEOX)


def drawn(n: int, seed: int = 0) -> tuple[Case, ...]:
    """Return `n` plans, of every model in turn; the first ones are the same for every `n`."""
    draws = [_draws(model, seed) for model in MODELS]
    cases: dict[str, Case] = {}
    while len(cases) < n:
        case = next(draws[len(cases) % len(MODELS)])
        cases.setdefault(case.name, case)
    return tuple(cases.values())


def _draws(model: ModelSpec, seed: int) -> Iterator[Case]:
    job = JobSpec(sequence_length=32, global_batch_sequences=BATCH, precision=Precision.FP32)
    scenario = Scenario(
        name="drawn",
        model=model,
        cluster=CLUSTER,
        job=job,
        limits=PlanLimits(devices=4),
        target="armillary",
    )
    tables = list(Space.of(scenario).tables())
    choice = random.Random(f"{seed} {model.name}")
    while True:
        table = choice.choices(tables, weights=list(map(len, tables)))[0]
        plan = table.plan(choice.randrange(len(table)), Precision.FP32)
        yield Case(f"drawn {model.name}: {plan.label()}", plan, model)
