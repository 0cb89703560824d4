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
from simulator.spec.model import ModelSpec
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


@pytest.mark.parametrize("name", CASES)
def test_volume_is_what_torch_issues(
    name: str, issued: dict[str, dict[str, dict[str, float]]]
) -> None:
    _, plan, _ = CASES[name]
    seen, volume = issued[name], predicted(name)
    tensor, shards = seen.get("tp", {}), seen.get("dp_shard", {})
    copies = seen.get("dp_replicate", {}).get("all_reduce", 0.0)
    if plan.sequence_parallel:
        # FSDP also adds up the gradients of norms, which every rank has of its own tokens.
        assert tensor["all_gather"] + tensor["reduce_scatter"] == volume.tp_bytes
        assert tensor.get("all_reduce", 0.0) < 0.02 * volume.tp_bytes
    else:
        assert tensor.get("all_reduce", 0.0) == volume.tp_bytes
    assert seen.get("pp", {}).get("send", 0.0) == volume.pp_bytes
    assert shards.get("all_gather", 0.0) == volume.dp_gather_bytes
    assert shards.get("reduce_scatter", 0.0) == volume.dp_reduce_bytes * (plan.zero_stage > 0)
    assert copies == (volume.dp_copies_bytes if plan.zero_stage else volume.dp_reduce_bytes)
