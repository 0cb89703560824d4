"""Every field of model, job, plan and hyper-parameters reaches every export, or its notes.

Each field is changed once. The export must then say something else, in its files (comments do not
count) or in its notes, or refuse. A new field fails here until CHANGES has a value for it, and each
exporter says it; one that changes no training has its reason in WITHOUT_EFFECT.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from planner.export import EXPORTERS, find_exporter
from simulator.catalog import find_model
from simulator.spec.base import Precision, Spec
from simulator.spec.data import DataSpec
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec, OverlapChoice
from simulator.spec.learning import LearningSpec
from simulator.spec.legality import require_legal
from simulator.spec.model import ModelSpec, PatchSpec, RopeScaling
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec
from tests.planner.export.plans import plan_file

WITHOUT_EFFECT = {
    "model.name": "a label",
    "model.source": "where the dimensions come from",
    "job.global_batch_tokens": "another way to say global_batch_sequences",
    "job.precision": "the plan's is what counts",
    "job.expert_imbalance": "an assumption of the cost model",
    "job.software": "the kernels of the cost model",
}

CHANGES: dict[str, Any] = {
    "model.kind": "encoder",
    "model.n_layers": 40,
    "model.hidden_size": 8192,
    "model.n_heads": 64,
    "model.n_kv_heads": 16,
    "model.head_dim": 64,
    "model.ffn_size": 16384,
    "model.gated_ffn": False,
    "model.activation": "relu",
    "model.vocab_size": 64000,
    "model.max_positions": 65536,
    "model.position": "learned",
    "model.rope_base": 20_000.0,
    "model.rope_fraction": 0.5,
    "model.rope_scaling": RopeScaling(kind="linear", factor=2),
    "model.rope_scaling.kind": "linear",
    "model.rope_scaling.factor": 16.0,
    "model.rope_scaling.original_positions": 1024,
    "model.rope_scaling.low_frequency_factor": 2.0,
    "model.rope_scaling.high_frequency_factor": 8.0,
    "model.rope_scaling.beta_fast": 16.0,
    "model.rope_scaling.beta_slow": 2.0,
    "model.rope_scaling.mscale": 0.5,
    "model.rope_scaling.mscale_all_dim": 0.5,
    "model.norm": "layernorm",
    "model.norm_eps": 1e-7,
    "model.init_std": 0.01,
    "model.qkv_bias": True,
    "model.attention_out_bias": True,
    "model.ffn_bias": True,
    "model.qk_norm": True,
    "model.parallel_residual": True,
    "model.tied_embeddings": True,
    "model.n_token_types": 2,
    "model.embedding_norm": True,
    "model.final_norm": False,
    "model.lm_head": False,
    "model.lm_head_transform": True,
    "model.head_bias": True,
    "model.n_mtp_layers": 1,
    "model.sliding_window": 1024,
    "model.moe": None,
    "model.moe.n_experts": 16,
    "model.moe.top_k": 4,
    "model.moe.expert_ffn_size": 4096,
    "model.moe.n_shared_experts": 2,
    "model.moe.shared_expert_ffn_size": 2048,
    "model.moe.n_dense_layers": 4,
    "model.moe.layer_period": 2,
    "model.moe.most_nodes": 2,
    "model.moe.router_bias": True,
    "model.moe.shared_expert_gate": False,
    "model.moe.router_score": "sigmoid",
    "model.moe.normalize_top_k": False,
    "model.moe.routed_scale": 3.0,
    "model.moe.n_groups": 4,
    "model.moe.top_groups": 2,
    "model.moe.load_balancing": "none",
    "model.moe.aux_loss_coefficient": 0.5,
    "model.moe.z_loss_coefficient": 0.001,
    "model.moe.expert_bias_rate": 0.002,
    "model.mla": None,
    "model.mla.q_lora_rank": 1024,
    "model.mla.kv_lora_rank": 256,
    "model.mla.qk_nope_head_dim": 64,
    "model.mla.qk_rope_head_dim": 32,
    "model.mla.v_head_dim": 64,
    "model.patches": PatchSpec(image_size=224, patch_size=16),
    "job.tokens": 20 * 10**9,
    "job.sequence_length": 2048,
    "job.global_batch_sequences": 1024,
    "job.sync_every_steps": 2,
    "job.optimizer": "sgd",
    "job.attention": "unfused",
    "job.dropout": 0.1,
    "job.gradient_dtype": "bf16",
    "job.launch": "cuda-graphs",
    "job.overlap": OverlapChoice(tp=0.5),
    "job.overlap.tp": 0.5,
    "job.overlap.cp": 0.5,
    "job.overlap.ep": 0.5,
    "job.overlap.dp": 0.5,
    "job.overlap.dp_gather": 0.5,
    "job.overlap.pp": 0.5,
    "job.overlap.contention": 0.5,
    "job.overlap.bucket_bytes": 25e6,
    "run.learning_rate": 3e-4,
    "run.warmup_steps": 2000,
    "run.learning_rate_decay": "cosine",
    "run.final_learning_rate": 3e-5,
    "run.adam_beta1": 0.8,
    "run.adam_beta2": 0.97,
    "run.adam_epsilon": 1e-9,
    "run.weight_decay": 0.05,
    "run.max_gradient_norm": 2.0,
    "plan.pp": {"pp": 2, "dp_replicate": 4},
    "plan.dp_replicate": {"dp_replicate": 4, "tp": 2},
    "plan.dp_shard": {"dp_replicate": 1, "dp_shard": 8, "zero_stage": 2},
    "plan.cp": {"cp": 2, "dp_replicate": 4},
    "plan.tp": {"tp": 2, "dp_replicate": 4},
    "plan.ep": {"ep": 2},
    "plan.zero_stage": {"dp_replicate": 1, "dp_shard": 8, "zero_stage": 1},
    "plan.sequence_parallel": {"tp": 2, "dp_replicate": 4, "sequence_parallel": True},
    "plan.schedule": {"pp": 2, "dp_replicate": 4, "schedule": "gpipe"},
    "plan.virtual_stages": {
        "pp": 2, "dp_replicate": 4, "schedule": "interleaved-1f1b", "virtual_stages": 2},
    "plan.microbatch_sequences": {"microbatch_sequences": 2},
    "plan.n_microbatches": {"dp_replicate": 4, "tp": 2},
    "plan.recompute": {"recompute": "full"},
    "plan.precision": {"precision": Precision.FP32},
    "plan.layers_per_chunk": {"pp": 2, "dp_replicate": 4, "layers_per_chunk": (17, 15)},
    "plan.checkpoint_interval_s": {"checkpoint_interval_s": 12345.0},
    "plan.n_spare_nodes": {"n_spare_nodes": 1},
    "plan.recovery": {"recovery": "isolate"},
    "plan.isolation_groups": {"isolation_groups": 2},
}  # fmt: skip
"""Another value of each field; of a decision, the decisions that go with it."""

MODELS = {
    "model.rope_scaling.beta_": "deepseek-v2-lite",
    "model.rope_scaling.mscale": "deepseek-v2-lite",
    "model.rope_scaling.": "llama3.1-8b",
    "model.mla": "deepseek-v2-lite",
    "model.moe.shared_expert_gate": "qwen1.5-moe-a2.7b",
    "model.moe.top_groups": "deepseek-v2",
    "model.moe": "mixtral-8x7b",
    "plan.ep": "mixtral-8x7b",
    "": "llama3-8b",
}
"""The model in which a field is there to be changed, by how the field's path begins."""


@cache
def base_of(model: str) -> PlanFile:
    """Return a data-parallel plan for a model."""
    file = plan_file("ddp")
    scenario = file.scenario.model_copy(update={"model": find_model(model)})
    return file.model_copy(update={"scenario": scenario})


def model_of(path: str) -> str:
    """Return the model for a field's test."""
    return next(model for start, model in MODELS.items() if path.startswith(start))


def leaves(kind: type[Spec], path: str) -> Iterator[str]:
    """Yield the paths of all fields, of sections too."""
    for name, field in kind.model_fields.items():
        yield f"{path}.{name}"
        for part in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Spec) and part is not PatchSpec:
                yield from leaves(part, f"{path}.{name}")


FIELDS = [
    *leaves(ModelSpec, "model"),
    *leaves(JobSpec, "job"),
    *leaves(PlanSpec, "plan"),
    *leaves(LearningSpec, "run"),
]


def with_value(owner: Spec, names: list[str], value: Any) -> Any:
    """Return the spec with one field of it, or of a section of it, changed."""
    first, *rest = names
    if rest:
        value = with_value(getattr(owner, first), rest, value)
    return owner.model_copy(update={first: value})


def changed(file: PlanFile, path: str) -> PlanFile:
    """Return the plan file with the field changed, still a legal one."""
    section, *names = path.split(".")
    value = CHANGES[path]
    scenario, plan = file.scenario, file.plan
    if section == "plan":
        plan = plan.model_copy(update=value)
    else:
        scenario = with_value(scenario, [section, *names], value)
    per_rank = scenario.job.batch_sequences // (plan.dp * plan.microbatch_sequences)
    plan = plan.model_copy(update={"n_microbatches": per_rank})
    return file.model_copy(update={"scenario": scenario, "plan": plan})


def said(target: str, file: PlanFile) -> object:
    """Return what an export says: its notes, and its files without comments; None if it refuses."""
    try:
        export = find_exporter(target).export(file)
    except InputError:
        return None
    lines = [
        [line for line in each.text.splitlines() if not line.startswith("# ")]
        for each in export.files
    ]
    return export.notes, lines


@cache
def said_of_base(target: str, model: str) -> object:
    return said(target, base_of(model))


def test_each_field_has_another_value_or_a_reason() -> None:
    assert set(CHANGES) | set(WITHOUT_EFFECT) == set(FIELDS)
    assert not set(CHANGES) & set(WITHOUT_EFFECT)
    trained = {*LearningSpec.model_fields, *DataSpec.model_fields}
    assert set(RunSpec.model_fields) - trained == {
        "steps", "init_from", "checkpoint_every_steps", "profile_every_steps", "threads_per_rank",
    }  # of `armillary run` only  # fmt: skip


@pytest.mark.parametrize("path", CHANGES)
def test_no_field_is_left_out(path: str) -> None:
    model = model_of(path)
    file = changed(base_of(model), path)
    assert file != base_of(model)
    if not path.startswith("model."):
        scenario = file.scenario
        n_devices = scenario.cluster.n_devices
        require_legal(scenario.model, scenario.job, file.plan, n_devices=n_devices)
    for target in EXPORTERS:
        after = said(target, file)
        assert after is None or after != said_of_base(target, model), target


@pytest.mark.parametrize(
    ("target", "n_taken"),
    [("torchtitan", 20), ("megatron", 60), ("deepspeed", 80), ("accelerate", 80)],
)
def test_the_checks_above_do_not_pass_by_refusing(target: str, n_taken: int) -> None:
    files = [changed(base_of(model_of(path)), path) for path in CHANGES]
    assert sum(said(target, file) is not None for file in files) > n_taken
