"""Advice is tried out before it is given."""

import re
from collections.abc import Callable

import pytest

from planner.changes import (
    fewer_devices,
    more_devices,
    resized,
    shorter_sequences,
    with_device,
    with_devices,
)
from planner.infeasible import nearest_plan, no_legal_plan, nothing_fits
from planner.pricing import Pricing
from planner.refusals import refused_meshes
from planner.space import Space
from simulator.catalog import find_model
from simulator.catalog.cluster import parse_cluster
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.scenario import PlanLimits, Scenario
from simulator.spec.units import format_bytes


def scenario_of(model: str, cluster: str, **fields: object) -> Scenario:
    job = JobSpec(tokens=10**10, sequence_length=2048, global_batch_sequences=16)
    return Scenario.model_validate(
        {"name": "x", "model": find_model(model), "cluster": parse_cluster(cluster), "job": job}
        | fields
    )


@pytest.mark.parametrize("model", ["llama2-7b", "mixtral-8x7b"])
def test_the_nearest_plan_needs_least_of_all(model: str) -> None:
    scenario = scenario_of(model, "a100-sxm-40gb:8")
    pricing = Pricing.of(scenario)
    least = min(float(pricing.peak_bytes(table).min()) for table in Space.of(scenario).tables())
    nearest = nearest_plan(scenario)
    assert nearest is not None
    assert nearest.peak_bytes == pytest.approx(least, rel=1e-12)


def test_the_nearest_plan_keeps_the_limits() -> None:
    limits = PlanLimits(microbatch_sequences=2, recompute="none", tp=2)
    nearest = nearest_plan(scenario_of("llama2-7b", "a100-sxm-40gb:8", limits=limits))
    assert nearest is not None
    plan = nearest.plan
    assert (plan.microbatch_sequences, plan.recompute, plan.tp) == (2, "none", 2)


def test_every_advice_on_memory_holds() -> None:
    scenario = scenario_of("llama3-70b", "h100-sxm:8", limits=PlanLimits(recompute="none"))
    nearest = nearest_plan(scenario)
    assert nearest is not None
    text = str(nothing_fits(scenario, nearest))
    assert "b200-sxm-180gb devices: needs" in text
    (count,) = re.findall(r"(\d+) devices instead of 8", text)
    enough, too_few = (
        nearest_plan(with_devices(scenario, n)) for n in (int(count), int(count) // 2)
    )
    assert enough is not None
    assert enough.fits
    assert too_few is not None
    assert not too_few.fits
    assert format_bytes(enough.peak_bytes) in text


def test_awkward_counts_name_the_factors() -> None:
    text = str(no_legal_plan(scenario_of("llama2-7b", "h100-sxm:7")))
    assert "no plan is legal on 7 devices" in text
    assert "dp divides the batch of 16 sequences" in text
    assert "limits.devices=6: " in text


def test_few_smaller_numbers_are_tried_on_a_million_devices() -> None:
    scenario = scenario_of("llama2-7b", "h100-sxm:1000000")
    counts = [change.scenario.n_devices for change in fewer_devices(scenario)]
    assert counts[:64] == list(range(999_999, 999_935, -1))
    assert len(counts) < 64 + 20
    assert counts == sorted(set(counts), reverse=True)
    assert 524_288 in counts
    few = [each.scenario.limits.devices for each in fewer_devices(scenario_of("gpt2", "cpu:7"))]
    assert few == [6, 5, 4]


def test_advice_on_a_million_devices() -> None:
    job = JobSpec(sequence_length=8192, global_batch_sequences=2048)
    text = str(no_legal_plan(scenario_of("llama3.1-405b", "h100-sxm:1000000", job=job)))
    assert "job.global_batch_sequences=2000: 21,585 plans are legal" in text
    assert "limits.devices=999424 (only round numbers were tried): 127,110 plans" in text


def test_a_batch_that_the_devices_do_not_divide() -> None:
    job = JobSpec(sequence_length=2048, global_batch_sequences=2520)
    text = str(no_legal_plan(scenario_of("mt-nlg-530b", "a100-sxm-80gb:5128", job=job)))
    assert "dp divides the batch of 2520 sequences" in text
    assert "job.global_batch_sequences=2564: " in text


def test_a_cluster_grows_by_whole_nodes() -> None:
    cluster = parse_cluster("h100-sxm:4")
    assert (resized(cluster, 8).n_nodes, resized(cluster, 8).devices_per_node) == (1, 8)
    grown = resized(cluster, 32)
    assert (grown.n_nodes, grown.devices_per_node, grown.n_devices) == (4, 8, 32)
    assert grown.fabric.kind != "none"
    with pytest.raises(InputError, match="12 devices are not whole nodes of 8"):
        resized(cluster, 12)


def test_other_devices_keep_the_count() -> None:
    scenario = scenario_of("llama2-7b", "h100-sxm:64", limits=PlanLimits(devices=32))
    changed = with_device(scenario, "b200-sxm-180gb")
    assert changed.cluster.n_devices == 32
    assert changed.limits.devices is None


@pytest.mark.parametrize("changes", [more_devices, shorter_sequences])
def test_a_change_keeps_the_tokens_of_a_step(changes: Callable[..., object]) -> None:
    scenario = scenario_of("llama2-7b", "h100-sxm:8")
    for change in changes(scenario):  # type: ignore[attr-defined]
        assert change.scenario.job.batch_tokens == scenario.job.batch_tokens


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"tp": 4, "pp": 4, "cp": 1}, "limits.tp=4 and limits.pp=4 together"),
        ({"tp": {"exclude": [1, 2, 4, 8]}, "pp": 2}, "limits.tp={exclude: [1, 2, 4, 8]};"),
        (
            {"schedule": "1f1b", "virtual_stages": 2, "pp": 2, "zero_stage": 1},
            "limits.virtual_stages=2 and limits.schedule=1f1b together",
        ),
        ({"zero_stage": 0, "dp_shard": [2, 4]}, "limits.dp_shard=[2, 4] and limits.zero_stage=0"),
    ],
)
def test_contradicting_limits_are_named(limits: dict[str, object], named: str) -> None:
    scenario = scenario_of("llama2-7b", "h100-sxm:8", limits=PlanLimits.model_validate(limits))
    message = no_legal_plan(scenario).message
    assert f"nothing is left by {named}" in message


def test_meshes_are_counted_where_their_limits_are_to_blame() -> None:
    """A limit on shards refuses no mesh, so nothing that refuses one is to blame."""
    limits = PlanLimits(dp_shard=3)
    message = no_legal_plan(scenario_of("llama2-7b", "h100-sxm:8", limits=limits)).message
    assert message.endswith("nothing is left by limits.dp_shard=3")
    limits = PlanLimits(tp=3)
    message = no_legal_plan(scenario_of("llama2-7b", "h100-sxm:8", limits=limits)).message
    assert "nothing is left by limits.tp=3; of " in message
    assert "limits.tp=3" in message.partition(" are refused ")[2]


def test_a_target_is_part_of_a_contradiction() -> None:
    limits = PlanLimits(cp=2)
    scenario = scenario_of("llama2-7b", "h100-sxm:8", limits=limits, target="deepspeed")
    assert "limits.cp=2 and target=deepspeed together" in no_legal_plan(scenario).message


def test_the_reasons_that_refuse_most_meshes() -> None:
    """Four meshes of 7 devices, five microbatches for 16 sequences; one mesh is tp = 7."""
    scenario = scenario_of("llama2-7b", "h100-sxm:7", limits=PlanLimits(tp=7))
    n_meshes, refusals = refused_meshes(Space.of(scenario))
    assert n_meshes == 4 * 5
    assert [(each.n_meshes, each.reason.partition(" (")[0]) for each in refusals] == [
        (15, "limits.tp=7"),
        (5, "tp"),
        (5, "n_microbatches"),
        (5, "sequence_length"),
    ]
    assert refusals[1].reason == "tp (n_heads=32 is not divisible by tp=7)"
