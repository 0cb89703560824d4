"""DeepSpeed 0.19: the JSON configuration of one engine.

References
----------
deepspeedai/DeepSpeed: deepspeed/runtime/config.py, runtime/zero/config.py, runtime/
tensor_parallel/config.py. Top-level keys are not checked there, so ours are compared in a test.
"""

from __future__ import annotations

import json
from typing import Any

from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    applying,
    steps_between_checkpoints,
)
from planner.export.launch import launch_files, require_file, start_command
from simulator.spec.base import Precision
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.recompute import RecomputeName
from simulator.spec.scenario import Scenario

CONFIG = "ds_config.json"
_NEEDS = (
    "train.py, which is yours: it makes the model, reads the data and calls deepspeed.initialize",
)


def _emit(plan_file: PlanFile) -> Export:
    dropped = _dropped(plan_file)
    return Export(
        target="deepspeed",
        files=(
            ExportedFile(CONFIG, json.dumps(configuration(plan_file), indent=2) + "\n"),
            *launch_files(
                plan_file,
                f"train.py --deepspeed_config {CONFIG}",
                dropped=dropped,
                needs=_NEEDS,
                setup=(require_file("train.py", "it is yours to write, see above"),),
            ),
        ),
        dropped=dropped,
        needs=_NEEDS,
        start=start_command(plan_file),
    )


def _dropped(plan_file: PlanFile) -> tuple[str, ...]:
    plan, job = plan_file.plan, plan_file.scenario.job
    return applying(
        (
            plan.pp > 1,
            f"pp={plan.pp}: wrap the model in PipelineModule(num_stages={plan.pp}), which divides "
            "embedding, layers and head as it finds them",
        ),
        (
            plan.recompute == "full" and plan.pp == 1,
            "recompute: call deepspeed.checkpointing.checkpoint on every layer",
        ),
        (
            _accumulates_in_bf16(plan) and job.gradient_dtype == "fp32",
            "gradients in fp32: without a ZeRO stage DeepSpeed adds them up in bf16",
        ),
        (True, f"checkpoints: save one every {steps_between_checkpoints(plan_file)} steps"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
    )


def _accumulates_in_bf16(plan: PlanSpec) -> bool:
    return plan.zero_stage == 0 and plan.precision is Precision.BF16 and plan.pp == 1


def configuration(plan_file: PlanFile) -> dict[str, Any]:
    """Return the configuration; all three batch keys are given, so that none is derived."""
    scenario, plan = plan_file.scenario, plan_file.plan
    run = scenario.run
    config: dict[str, Any] = {
        "train_batch_size": plan.batch_sequences,
        "train_micro_batch_size_per_gpu": plan.microbatch_sequences,
        "gradient_accumulation_steps": plan.n_microbatches,
        "gradient_clipping": run.max_gradient_norm,
        "optimizer": {
            "type": {"adamw": "AdamW", "sgd": "SGD"}[scenario.job.optimizer],
            "params": {"lr": run.learning_rate, "weight_decay": run.weight_decay},
        },
        "zero_optimization": {"stage": plan.zero_stage, "overlap_comm": True},
        "bf16": {"enabled": plan.precision is Precision.BF16},
        "fp16": {"enabled": plan.precision is Precision.FP16},
        "communication_data_type": scenario.job.gradient_dtype,
    }
    if plan.zero_stage > 0:
        config["data_types"] = {"grad_accum_dtype": scenario.job.gradient_dtype}
        if scenario.job.optimizer == "sgd":
            config["zero_allow_untested_optimizer"] = True
    if plan.tp > 1:
        config["tensor_parallel"] = {"autotp_size": plan.tp}
    if plan.pp > 1:
        config["pipeline"] = {
            "stages": plan.pp,
            "partition": "uniform",
            "activation_checkpoint_interval": int(plan.recompute == "full"),
        }
    if plan.recompute == "full":
        config["activation_checkpointing"] = {"partition_activations": False}
    return config


def _read_back(export: Export, _scenario: Scenario) -> PlanSpec:
    config = json.loads(export.text(CONFIG))
    batch, microbatch = config["train_batch_size"], config["train_micro_batch_size_per_gpu"]
    dp = batch // (microbatch * config["gradient_accumulation_steps"])
    stage = config["zero_optimization"]["stage"]
    recompute: RecomputeName = "full" if "activation_checkpointing" in config else "none"
    precision = next(
        (name for name in (Precision.BF16, Precision.FP16) if config[name.value]["enabled"]),
        Precision.FP32,
    )
    return PlanSpec(
        pp=config.get("pipeline", {}).get("stages", 1),
        dp_replicate=1 if stage else dp,
        dp_shard=dp if stage else 1,
        tp=config.get("tensor_parallel", {}).get("autotp_size", 1),
        zero_stage=stage,
        microbatch_sequences=microbatch,
        n_microbatches=config["gradient_accumulation_steps"],
        recompute=recompute,
        precision=precision,
    )


EXPORTER = Exporter(
    name="deepspeed",
    description="a DeepSpeed JSON configuration",
    executor="deepspeed",
    emit=_emit,
    read_back=_read_back,
)
