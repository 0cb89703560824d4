"""The enumerated plans are exactly the legal ones, each once."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from planner.space import PLAIN_SCHEDULES, Space
from simulator.cost.plan_table import PlanTable
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.legality import violations
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import parse_recompute
from simulator.spec.scenario import PlanLimits, Scenario
from simulator.spec.schedules import ScheduleName
from simulator.spec.target import TARGETS

Make = Callable[..., Scenario]


def enumerated(scenario: Scenario, max_rows: int = 1000) -> list[PlanSpec]:
    return [
        table.plan(row, Precision.BF16)
        for table in Space.of(scenario).tables(max_rows)
        for row in range(len(table))
    ]


def every_combination(
    n_devices: int,
    batch: int,
    n_layers: int,
    schedules: tuple[ScheduleName, ...],
    recomputes: Sequence[str],
) -> Iterator[PlanSpec]:
    """All plans that a validated `PlanSpec` allows with these sizes, legal or not."""
    sizes = range(1, n_devices + 1)
    for pp, replicate, shard, cp, tp in itertools.product(sizes, repeat=5):
        if pp * replicate * shard * cp * tp != n_devices:
            continue
        share = batch // (replicate * shard)
        for ep, zero, sp, schedule, stages, microbatch, recompute in itertools.product(
            sizes,
            range(4),
            (False, True),
            schedules,
            range(1, n_layers + 1),
            range(1, share + 1),
            recomputes,
        ):
            try:
                yield PlanSpec(
                    pp=pp,
                    dp_replicate=replicate,
                    dp_shard=shard,
                    cp=cp,
                    tp=tp,
                    ep=ep,
                    zero_stage=zero,
                    sequence_parallel=sp,
                    schedule=schedule,
                    virtual_stages=stages,
                    microbatch_sequences=microbatch,
                    n_microbatches=max(share // microbatch, 1),
                    recompute=recompute,
                )
            except ValidationError:
                continue


def runs_like_a_simpler_one(plan: PlanSpec, n_layers: int) -> bool:
    kind, longest = plan.recompute_kind, max(plan.chunk_layers(n_layers))
    return (
        (kind.whole == "first" and longest <= kind.count)  # full
        or (plan.pp == 1 and plan.schedule != "1f1b")
        or (plan.schedule == "interleaved-1f1b" and plan.virtual_stages == 1)
        or (plan.zero_stage > 0 and plan.dp_shard * plan.cp == 1)
    )


@pytest.mark.parametrize(
    ("n_devices", "batch", "n_experts", "target"),
    [(1, 4, 0, None), (4, 4, 0, None), (6, 6, 0, None), (4, 3, 4, None)]
    + [(4, 4, 0, name) for name in TARGETS],
)
def test_enumeration_is_brute_force(
    make_scenario: Make, n_devices: int, batch: int, n_experts: int, target: str | None
) -> None:
    scenario = make_scenario(
        n_devices=n_devices, batch=batch, n_experts=n_experts, target=target, sequence_length=48
    )
    if target and TARGETS[target].models:
        named = scenario.model.model_copy(update={"name": TARGETS[target].models[0]})
        scenario = scenario.model_copy(update={"model": named})
    model, job = scenario.model, scenario.job
    executors = [TARGETS[target]] if target else list(TARGETS.values())
    proposed = TARGETS[target].schedules if target else PLAIN_SCHEDULES
    kinds = {name for each in executors for name in each.recomputes.proposed}
    recomputes = sorted(kinds - {"core-attn"})  # of fused attention it gives nothing back
    expected = {
        plan
        for plan in every_combination(n_devices, batch, model.n_layers, proposed, recomputes)
        if not runs_like_a_simpler_one(plan, model.n_layers)
        and not violations(model, job, plan, n_devices=n_devices)
        and any(executor.plan_refusal(model, job, plan) is None for executor in executors)
    }
    found = enumerated(scenario)
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert expected


def test_who_repeats_the_first_layers_repeats_all() -> None:
    """So that `first-4` need not be there where it is `full`."""
    some, every = parse_recompute("first-4"), parse_recompute("full")
    for target in TARGETS.values():
        reach = target.recomputes
        assert reach.runs(every, "fused") or not reach.runs(some, "fused"), target.name


def test_one_name_of_the_core_of_unfused_attention(make_scenario: Make) -> None:
    """Megatron's core-attn is what others call selective, and Megatron runs it by that name."""
    fused = make_scenario(n_devices=4, batch=4, target="megatron")
    job = fused.job.model_copy(update={"attention": "unfused"})
    unfused = fused.model_copy(update={"job": job})
    everywhere = unfused.model_copy(update={"target": None})
    named = [
        {plan.recompute for plan in enumerated(scenario)}
        for scenario in (fused, unfused, everywhere)
    ]
    assert ["selective" in names for names in named] == [False, False, True]
    assert ["core-attn" in names for names in named] == [False, True, False]
    megatron = TARGETS["megatron"]
    alike = [plan.model_copy(update={"recompute": "selective"}) for plan in enumerated(unfused)]
    for plan in alike:
        assert megatron.plan_refusal(unfused.model, unfused.job, plan) is None


def test_every_row_is_legal_on_an_awkward_case(make_scenario: Make) -> None:
    scenario = make_scenario(n_devices=48, batch=96, n_experts=6, sequence_length=192)
    rng = np.random.default_rng(0)
    for table in Space.of(scenario).tables():
        for row in rng.integers(len(table), size=40):
            plan = table.plan(int(row), Precision.BF16)
            assert violations(scenario.model, scenario.job, plan, n_devices=48) == []
            assert plan.n_ranks == 48


def test_the_size_of_the_tables_changes_nothing(make_scenario: Make) -> None:
    scenario = make_scenario(n_devices=8, batch=8)
    assert enumerated(scenario, max_rows=1) == enumerated(scenario, max_rows=1 << 20)


def test_tables_are_bounded(make_scenario: Make) -> None:
    scenario = make_scenario(n_devices=48, batch=96)
    sizes = [len(table) for table in Space.of(scenario).tables(max_rows=5000)]
    assert max(sizes) <= 5000
    assert len(sizes) > 2


@pytest.mark.parametrize(
    "limits",
    [
        {"tp": 2},
        {"pp": 3, "virtual_stages": 2},
        {"dp": 4},
        {"dp_shard": 2},
        {"dp_replicate": 2},
        {"cp": 2, "zero_stage": 3},
        {"sequence_parallel": True},
        {"microbatch_sequences": 3, "recompute": "full"},
        {"tp": [2, 4], "zero_stage": [0, 1]},
        {"tp": {"min": 2}, "pp": {"max": 3}, "virtual_stages": {"exclude": [2]}},
        {"dp": {"min": 2, "max": 6, "exclude": [4]}, "n_microbatches": {"max": 4}},
        {"recompute": ["none", "full"]},
        {"recompute": {"exclude": ["full"]}, "microbatch_sequences": {"exclude": [1, 2]}},
    ],
)
def test_limits_pick_from_the_free_space(make_scenario: Make, limits: dict[str, object]) -> None:
    free = enumerated(make_scenario(n_devices=12))
    limited = enumerated(make_scenario(n_devices=12, limits=PlanLimits.model_validate(limits)))
    assert limited == [
        plan
        for plan in free
        if all(_keeps(value, getattr(plan, name)) for name, value in limits.items())
    ]
    assert 0 < len(limited) < len(free)


def _keeps(limit: object, value: object) -> bool:
    if isinstance(limit, dict):
        in_bounds = limit.get("min", value) <= value <= limit.get("max", value)
        return in_bounds and value not in limit.get("exclude", ())
    return value in limit if isinstance(limit, list) else value == limit


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (["gpipe", "looped-bfs"], {"gpipe", "looped-bfs"}),
        ({"exclude": ["1f1b", "gpipe"]}, {"interleaved-1f1b"}),
    ],
)
def test_limits_on_schedules(make_scenario: Make, limit: object, left: set[str]) -> None:
    limited = enumerated(make_scenario(limits=PlanLimits.model_validate({"schedule": limit})))
    assert {plan.schedule for plan in limited if plan.pp > 1} == left
    assert {plan.schedule for plan in limited if plan.pp == 1} == {"1f1b"}


def test_a_schedule_limit_leaves_plans_without_a_pipeline(make_scenario: Make) -> None:
    limited = enumerated(make_scenario(limits=PlanLimits(schedule="gpipe")))
    assert {(plan.pp > 1, plan.schedule) for plan in limited} == {(False, "1f1b"), (True, "gpipe")}


def test_fewer_devices_than_the_cluster_has(make_scenario: Make) -> None:
    plans = enumerated(make_scenario(n_devices=8, limits=PlanLimits(devices=6)))
    assert {plan.n_ranks for plan in plans} == {6}


def test_more_devices_than_the_cluster_has(make_scenario: Make) -> None:
    with pytest.raises(InputError, match=r"limits\.devices: 9 devices wanted"):
        Space.of(make_scenario(n_devices=8, limits=PlanLimits(devices=9)))


def test_a_target_that_cannot_train_the_model(make_scenario: Make) -> None:
    with pytest.raises(InputError, match="torchtitan cannot run"):
        Space.of(make_scenario(n_experts=4, target="torchtitan"))


def test_no_plan_leaves_no_table(make_scenario: Make) -> None:
    # 7 divides neither the heads, the batch nor the sequence, and there are only 6 layers.
    assert list(Space.of(make_scenario(n_devices=7)).tables()) == []


def test_columns_are_a_plan_table(make_scenario: Make) -> None:
    table = next(Space.of(make_scenario()).tables())
    assert isinstance(table, PlanTable)
    assert {getattr(table, name).dtype for name in PlanTable.__dataclass_fields__} == {
        np.dtype(np.int64)
    }
