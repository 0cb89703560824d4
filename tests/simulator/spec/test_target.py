"""Each executor refuses what it cannot run, and says what."""

import pytest

from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.target import LAUNCHERS, TARGETS, find_target

MODEL = ModelSpec(
    name="m",
    n_layers=6,
    hidden_size=1024,
    n_heads=16,
    n_kv_heads=4,
    head_dim=64,
    ffn_size=4096,
    vocab_size=32000,
)
MOE = MODEL.model_copy(update={"moe": MoeSpec(n_experts=8, top_k=2, expert_ffn_size=512)})
KNOWN_MOE = MOE.model_copy(update={"name": "qwen3-30b-a3b"})


@pytest.mark.parametrize(
    ("target", "model", "plan", "refusal"),
    [
        ("armillary", MODEL, PlanSpec(), None),
        ("armillary", MOE, PlanSpec(dp_replicate=2, ep=2), None),
        ("armillary", MODEL, PlanSpec(cp=2), None),
        (
            "armillary",
            MODEL.model_copy(update={"sliding_window": 64}),
            PlanSpec(cp=2),
            "armillary cannot run cp > 1 with a sliding window",
        ),
        (
            "armillary",
            MOE,
            PlanSpec(tp=2, ep=2),
            "armillary cannot run experts spread over ranks of tp without sequence_parallel",
        ),
        ("armillary", MOE, PlanSpec(tp=2, ep=2, sequence_parallel=True), None),
        (
            "armillary",
            MOE,
            PlanSpec(dp_replicate=2, dp_shard=2, zero_stage=1, ep=4),
            "armillary cannot run copies of a divided model and ep that does not divide "
            "dp_shard x cp x tp",
        ),
        ("armillary", MOE, PlanSpec(dp_replicate=2, dp_shard=2, zero_stage=1, ep=2), None),
        (
            "armillary",
            MOE.model_copy(update={"moe": MoeSpec(n_experts=8, top_k=2, expert_ffn_size=511)}),
            PlanSpec(tp=2),
            "armillary cannot run tp that does not divide the inner width of experts",
        ),
        (
            "armillary",
            MOE.model_copy(update={"ffn_bias": True}),
            PlanSpec(),
            "armillary cannot run experts with biases",
        ),
        (
            "armillary",
            MODEL,
            PlanSpec(pp=2, dp_shard=2, zero_stage=3),
            "armillary cannot run zero_stage=3 with pp=2",
        ),
        ("armillary", MODEL, PlanSpec(dp_shard=2, zero_stage=3), None),
        ("torchtitan", KNOWN_MOE, PlanSpec(dp_shard=2, zero_stage=3, ep=2), None),
        (
            "torchtitan",
            KNOWN_MOE,
            PlanSpec(pp=2, tp=8),
            "torchtitan cannot run tp that does not divide the key and value heads",
        ),
        (
            "megatron",
            MODEL,
            PlanSpec(pp=2, schedule="gpipe"),
            "megatron cannot run schedule gpipe",
        ),
        ("megatron", MODEL, PlanSpec(schedule="gpipe"), None),
        ("torchtitan", KNOWN_MOE, PlanSpec(pp=2, schedule="zb-v", virtual_stages=2), None),
        (
            "torchtitan",
            KNOWN_MOE,
            PlanSpec(pp=2, schedule="zb-h2"),
            "torchtitan cannot run schedule zb-h2",
        ),
        (
            "torchtitan",
            KNOWN_MOE,
            PlanSpec(pp=2, schedule="zero-bubble"),
            "torchtitan cannot run schedules for several chunks per rank with one",
        ),
        ("armillary", MODEL, PlanSpec(pp=2, schedule="zb-h2"), None),
        (
            "armillary",
            MODEL.model_copy(update={"tied_embeddings": True}),
            PlanSpec(pp=2, schedule="dualpipe-v", virtual_stages=2),
            "armillary cannot run tied embeddings with chunks in a V",
        ),
        ("deepspeed", MODEL, PlanSpec(dp_shard=2, zero_stage=1), None),
        ("deepspeed", MODEL, PlanSpec(dp_shard=2, tp=2, zero_stage=3), None),
    ],
)
def test_refusal(target: str, model: ModelSpec, plan: PlanSpec, refusal: str | None) -> None:
    assert TARGETS[target].refusal(model, JobSpec(), plan) == refusal


def test_nobody_runs_local_sgd() -> None:
    job = JobSpec(sync_every_steps=50)
    for name, target in TARGETS.items():
        assert target.refusal(MODEL, job, PlanSpec()) == (
            f"{name} cannot run sync_every_steps=50 (local SGD)"
        )


def test_unknown_target_names_the_near_ones() -> None:
    with pytest.raises(InputError, match="unknown target 'megatorn'; did you mean megatron"):
        find_target("megatorn")


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_is_told_the_target_that_it_runs(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}'; {name} runs target armillary: plan for that"):
        find_target(name)
