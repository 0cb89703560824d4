"""Uneven plans fit, run, and are better than the best uniform one by events too."""

from collections.abc import Callable

import pytest

from planner.balance import Balance
from planner.pricing import Pricing
from planner.search import search
from planner.space import Space
from simulator.catalog.scenario_file import scenario_from_flags
from simulator.spec.plan_file import RankedPlan
from simulator.spec.scenario import PlanLimits, Scenario
from simulator.step.predict import Engine, predict_step

from .conftest import GIB, small_model

Make = Callable[..., Scenario]


def heavy_head(*, balance: bool) -> Scenario:
    """32 layers, and a head that weighs as much as five of them, in four stages."""
    return scenario_from_flags(
        model="llama3-8b",
        cluster="h100-sxm:8",
        batch="32",
        overrides=[f"limits={{pp: 4, tp: 1, schedule: 1f1b, balance: {str(balance).lower()}}}"],
    )


@pytest.fixture(scope="module")
def uniform() -> RankedPlan:
    return search(heavy_head(balance=False)).best


@pytest.fixture(scope="module")
def balanced() -> RankedPlan:
    return search(heavy_head(balance=True)).best


@pytest.mark.parametrize("engine", ["closed-form", "events"])
def test_uneven_stages_beat_even_ones(
    uniform: RankedPlan, balanced: RankedPlan, engine: Engine
) -> None:
    division = balanced.plan.chunk_layers(32)
    assert sum(division) == 32
    assert division[-1] < max(division)
    assert not uniform.plan.layers_per_chunk
    scenario = heavy_head(balance=True)
    balanced_s, uniform_s = (
        predict_step(scenario, one.plan, engine=engine).step_s for one in (balanced, uniform)
    )
    assert balanced_s < 0.97 * uniform_s


def test_uneven_stages_keep_to_memory_and_targets(
    uniform: RankedPlan, balanced: RankedPlan
) -> None:
    scenario = heavy_head(balance=True)
    pricing = Pricing.of(scenario)
    assert balanced.prediction.step.peak_memory_bytes <= pricing.allowed_bytes
    assert Balance(scenario, pricing).better(uniform.plan)
    even_only = search(scenario.model_copy(update={"target": "deepspeed"}), top=3)
    assert {one.plan.layers_per_chunk for one in even_only.plans} == {()}


def test_as_few_layers_are_recomputed_as_memory_asks_for(make_scenario: Make) -> None:
    """Between none, which does not fit, and all of them."""
    free: Scenario = make_scenario(n_devices=2, limits=PlanLimits(pp=1, tp=1, cp=1, balance=True))
    free = free.model_copy(update={"model": small_model(n_layers=24)})
    peaks = {
        kind: min(
            Pricing.of(one).peak_bytes(table).min()
            for one in [free.model_copy(update={"limits": free.limits.model_copy(update=fixed)})]
            for table in Space.of(one).tables()
        )
        for kind in ("none", "full")
        for fixed in [{"recompute": kind, "microbatch_sequences": 12}]
    }
    assert peaks["full"] < peaks["none"] < GIB * 80
    tight = free.limits.model_copy(
        update={
            "memory": (peaks["full"] + peaks["none"]) / 2,
            "memory_margin": 0.0,
            "microbatch_sequences": 12,
        }
    )
    best = search(free.model_copy(update={"limits": tight})).best
    assert best.plan.recompute_kind.whole == "first"
    assert best.prediction.step.peak_memory_bytes <= (tight.memory or 0.0)
