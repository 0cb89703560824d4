"""Bytes per axis as the simulator has them, against what our runtime's own code issues to torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog import find_software
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import Setting
from simulator.cost.volumes import StepVolume, step_volumes
from simulator.spec.model import ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from tests.runtime.plans import TINY, fp32, plan_file

pytestmark = pytest.mark.oracle

ROOT = Path(__file__).resolve().parents[2]
MODEL = TINY.model_copy(
    update={
        "hidden_size": 256,
        "n_heads": 8,
        "n_kv_heads": 8,
        "head_dim": 32,
        "ffn_size": 512,
        "vocab_size": 256,
    }
)
"""All widths are multiples of every number of shards below, or torch would pad them."""
TIED = MODEL.model_copy(update={"tied_embeddings": True})
MIXED = MODEL.model_copy(update={"moe": MoeSpec(n_experts=8, top_k=2, expert_ffn_size=256)})
SHARED = MODEL.model_copy(
    update={
        "moe": MoeSpec(
            n_experts=8, top_k=2, expert_ffn_size=128, n_shared_experts=2, n_dense_layers=1
        )
    }
)
SP: dict[str, Any] = {"tp": 4, "sequence_parallel": True}
V: dict[str, Any] = {"schedule": "zb-v", "virtual_stages": 2}

CASES: dict[str, tuple[ModelSpec, PlanSpec, int]] = {
    "DDP": (MODEL, fp32(dp_replicate=8, n_microbatches=2), 0),
    "ZeRO-1": (MODEL, fp32(dp_shard=8, zero_stage=1, n_microbatches=3), 0),
    "ZeRO-2": (MODEL, fp32(dp_shard=8, zero_stage=2, n_microbatches=3), 0),
    "FSDP": (MODEL, fp32(dp_shard=8, zero_stage=3, n_microbatches=2), 0),
    "FSDP, tied": (TIED, fp32(dp_shard=8, zero_stage=3, n_microbatches=2), 0),
    "HSDP": (MODEL, fp32(dp_replicate=4, dp_shard=8, zero_stage=3, n_microbatches=2), 0),
    "HSDP on 1,024": (MODEL, fp32(dp_replicate=4, dp_shard=256, zero_stage=2), 0),
    "TP": (MODEL, fp32(tp=4, n_microbatches=2), 0),
    "TP + SP": (MODEL, fp32(**SP, n_microbatches=2), 0),
    "TP + SP, recompute": (MODEL, fp32(**SP, recompute="full"), 0),
    "PP, first stage": (MODEL, fp32(pp=4, n_microbatches=8), 0),
    "PP, a middle stage": (MODEL, fp32(pp=4, n_microbatches=8), 1),
    "PP zb-v, last rank": (MODEL, fp32(pp=2, n_microbatches=4, **V), 1),
    "HSDP x TP + SP on 1,024": (
        MODEL,
        fp32(dp_replicate=4, dp_shard=64, zero_stage=3, n_microbatches=2, **SP),
        0,
    ),
    "TP, recompute": (MODEL, fp32(tp=2, recompute="full"), 0),
    "TP + SP, recompute every second layer and mlp": (
        MODEL,
        fp32(**SP, recompute="every-2+mlp"),
        0,
    ),
    "ZeRO-1 x PP x TP + SP on 1,024": (
        MODEL,
        fp32(pp=4, dp_shard=64, zero_stage=1, n_microbatches=4, **SP),
        768,
    ),
    "PP x TP": (MODEL, fp32(pp=2, tp=2, n_microbatches=2), 0),
    "CP x DDP": (MODEL, fp32(cp=4, dp_replicate=2, n_microbatches=2), 1),
    "CP x DDP, recompute": (MODEL, fp32(cp=2, dp_replicate=2, recompute="full"), 0),
    "CP x HSDP": (MODEL, fp32(cp=2, dp_replicate=2, dp_shard=4, zero_stage=3), 3),
    "CP x ZeRO-1 x PP x TP + SP on 1,024": (
        MODEL,
        fp32(pp=4, dp_shard=32, cp=2, zero_stage=1, n_microbatches=4, **SP),
        300,
    ),
    "EP x DDP": (MIXED, fp32(dp_replicate=8, ep=4, n_microbatches=2), 0),
    "EP x ZeRO-2": (MIXED, fp32(dp_shard=8, zero_stage=2, ep=2, n_microbatches=3), 0),
    "EP x ZeRO-3, recompute": (
        SHARED,
        fp32(dp_shard=8, zero_stage=3, ep=2, n_microbatches=2, recompute="full"),
        0,
    ),
    "EP x HSDP on 1,024": (
        MIXED,
        fp32(dp_replicate=128, dp_shard=8, zero_stage=3, ep=8, n_microbatches=2),
        5,
    ),
    "TP, experts": (MIXED, fp32(tp=4, n_microbatches=2), 0),
    "TP + SP, experts, recompute": (SHARED, fp32(**SP, recompute="full"), 0),
    "EP x ZeRO-1 x TP + SP, experts": (
        SHARED,
        fp32(dp_shard=8, zero_stage=1, ep=8, n_microbatches=2, **SP),
        0,
    ),
    "EP over TP + SP x ZeRO-1, recompute": (
        MIXED,
        fp32(dp_shard=2, zero_stage=1, ep=4, recompute="full", **SP),
        0,
    ),
    "EP x CP x PP x TP + SP on 1,024": (
        SHARED,
        fp32(pp=2, dp_replicate=16, dp_shard=2, cp=4, zero_stage=1, ep=8, n_microbatches=2, **SP),
        600,
    ),
}
"""Model, plan and rank."""


def scenario_of(name: str) -> Scenario:
    model, plan, _ = CASES[name]
    return plan_file(plan, model=model).scenario


@pytest.fixture(scope="module")
def issued() -> dict[str, dict[str, dict[str, float]]]:
    lines = [
        json.dumps(
            {
                "scenario": scenario_of(name).model_dump(mode="json"),
                "plan": plan.model_dump(mode="json"),
                "rank": rank,
            }
        )
        for name, (_, plan, rank) in CASES.items()
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.issued"],
        input="\n".join(lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = map(json.loads, done.stdout.splitlines())
    return dict(zip(CASES, answers, strict=True))


def predicted(name: str) -> StepVolume:
    model, plan, rank = CASES[name]
    scenario = scenario_of(name)
    software = find_software("fsdp-eager").model_copy(update={"scatters_transfers": False})
    table = PlanTable.of([plan])
    setting = Setting.of(model, scenario.cluster, scenario.job, software, table)
    return step_volumes(setting, plan)[rank // (plan.n_ranks // plan.pp)]


def whole_gradients(name: str) -> tuple[float, ...]:
    """Bytes of the gradients of norms and routers of a rank, once or for every microbatch."""
    model, plan, rank = CASES[name]
    sizes = plan.chunk_layers(model.n_layers)
    numbers = 0
    for chunk in plan.chunks_of_rank(rank // (plan.n_ranks // plan.pp)):
        layers = range(sum(sizes[:chunk]), sum(sizes[: chunk + 1]))
        n_norms = 2 * len(layers) + (chunk == plan.n_chunks - 1)
        n_scores = sum(map(model.is_moe_layer, layers)) * (model.moe.n_experts if model.moe else 0)
        numbers += (n_norms + n_scores) * model.hidden_size
    return 4.0 * numbers, 4.0 * numbers * plan.n_microbatches


@pytest.mark.parametrize("name", CASES)
def test_volume_is_what_torch_issues(
    name: str, issued: dict[str, dict[str, dict[str, float]]]
) -> None:
    _, plan, _ = CASES[name]
    seen, volume = issued[name], predicted(name)
    tensor, copies = seen.get("tp", {}), seen.get("dp_replicate", {})
    if plan.sequence_parallel:
        assert tensor["all_gather"] + tensor["reduce_scatter"] == volume.tp_bytes
        # FSDP also adds up the gradients of norms and routers, which every rank has of its own
        # tokens.
        assert tensor.get("all_reduce", 0.0) in (0.0, *whole_gradients(name))
    else:
        assert tensor.get("all_reduce", 0.0) == volume.tp_bytes
    assert seen.get("pp", {}).get("send", 0.0) == volume.pp_bytes
    assert seen.get("cp", {}).get("send", 0.0) == volume.cp_bytes
    assert seen.get("ep", {}).get("all_to_all", 0.0) == volume.ep_bytes
    shards, expert_shards = seen.get("dp_shard", {}), seen.get("expert_shard", {})
    assert shards.get("all_gather", 0.0) == volume.dp_gather_bytes
    assert shards.get("reduce_scatter", 0.0) == volume.dp_reduce_bytes
    assert copies.get("all_reduce", 0.0) == volume.dp_copies_bytes
    assert expert_shards.get("all_gather", 0.0) == volume.expert_gather_bytes
    assert expert_shards.get("reduce_scatter", 0.0) == volume.expert_reduce_bytes
    assert seen.get("expert_replicate", {}).get("all_reduce", 0.0) == volume.expert_copies_bytes
