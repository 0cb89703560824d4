"""DeepSpeed 0.19: the JSON configuration of one engine.

References
----------
deepspeedai/DeepSpeed: deepspeed/runtime/config.py, runtime/zero/config.py, runtime/
tensor_parallel/config.py. Top-level keys are not checked there, so ours are compared in a test.
"""

from __future__ import annotations

import json
from typing import Any

from planner.export.deepspeed_read import read
from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    Notes,
    applying,
    by_reading,
    common_drops,
    saves_behind_training,
    steps_between_checkpoints,
    unset,
)
from planner.export.launch import launch_files, require_file, start_command
from simulator.spec.base import Precision
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

CONFIG, MODEL = "ds_config.json", "model.json"
_NEEDS = (
    f"train.py, which is yours: it makes the model as {MODEL} says, reads the data and calls "
    "deepspeed.initialize",
)
_OTHERWISE = {
    "learning_rate": "optimizer.params.lr, else DeepSpeed's 1e-3",
    "warmup_steps": "scheduler, else none; it needs learning_rate and learning_rate_decay too",
    "learning_rate_decay": "scheduler, else constant; it needs learning_rate and warmup_steps too",
    "final_learning_rate": "scheduler.params.cos_min_ratio, else 1e-4 of the largest",
    "adam_beta1": "optimizer.params.betas, else 0.9",
    "adam_beta2": "optimizer.params.betas, else 0.999",
    "adam_epsilon": "optimizer.params.eps, else 1e-8",
    "weight_decay": "optimizer.params.weight_decay, else DeepSpeed's 0, or torch's 0.01",
    "max_gradient_norm": "gradient_clipping, else 0: none",
}


def _emit(plan_file: PlanFile) -> Export:
    scenario = plan_file.scenario
    notes = Notes(
        dropped=_dropped(plan_file), to_set=unset(scenario, _OTHERWISE), needs=_needs(plan_file)
    )
    return Export(
        target="deepspeed",
        files=(
            ExportedFile(CONFIG, json.dumps(configuration(plan_file), indent=2) + "\n"),
            ExportedFile(MODEL, scenario.model.model_dump_json(indent=2) + "\n"),
            *launch_files(
                plan_file,
                f"train.py --deepspeed_config {CONFIG}",
                notes=notes,
                setup=(require_file("train.py", "it is yours to write, see above"),),
            ),
        ),
        notes=notes,
        start=start_command(plan_file),
    )


def _needs(plan_file: PlanFile) -> tuple[str, ...]:
    """0.19.0 to 0.19.3 refuse AutoTP under ZeRO 3 (deepspeed/runtime/engine.py)."""
    plan = plan_file.plan
    divides_twice = plan.tp > 1 and plan.zero_stage == 3
    return _NEEDS + (("DeepSpeed 0.19.4 or newer: tp under ZeRO 3",) if divides_twice else ())


def _dropped(plan_file: PlanFile) -> tuple[str, ...]:
    plan, job, run = plan_file.plan, plan_file.scenario.job, plan_file.scenario.run
    given = [name for name in ("warmup_steps", "learning_rate_decay", "final_learning_rate")
             if getattr(run, name) is not None]  # fmt: skip
    return applying(
        (
            True,
            f"sequences of {job.sequence_length} tokens, {job.n_steps} steps: train.py's matter",
        ),
        (True, f"seed={plan_file.scenario.seed}: train.py's matter"),
        (job.attention == "unfused", "unfused attention: train.py's matter"),
        (
            bool(given)
            and _scheduler(plan_file.scenario) is None
            and (run.learning_rate_decay, run.warmup_steps) != ("constant", 0),
            f"{', '.join(given)}: a scheduler needs learning_rate, learning_rate_decay and "
            "warmup_steps > 0",
        ),
        (
            run.learning_rate_decay == "linear" and bool(run.final_learning_rate),
            f"final_learning_rate={run.final_learning_rate}: WarmupDecayLR ends at 0",
        ),
        (
            plan.pp > 1,
            f"pp={plan.pp}: wrap the model in PipelineModule(num_stages={plan.pp}), which divides "
            "embedding, layers and head as it finds them",
        ),
        (
            plan.recompute != "none" and plan.pp == 1,
            f"recompute {plan.recompute}: call deepspeed.checkpointing.checkpoint on every "
            f"{_layers(plan.recompute_kind.count)}",
        ),
        (
            _accumulates_in_bf16(plan) and job.gradient_dtype == "fp32",
            "gradients in fp32: without a ZeRO stage DeepSpeed adds them up in bf16",
        ),
        (
            bool(plan.layers_per_chunk) and plan.pp > 1,
            f"layers_per_chunk={plan.layers_per_chunk}: PipelineModule divides evenly",
        ),
        (True, f"checkpoints: save one every {steps_between_checkpoints(plan_file)} steps"),
        (
            saves_behind_training(plan_file.scenario),
            "asynchronous saves, as the prediction has them: save_checkpoint waits for the write",
        ),
    ) + common_drops(plan_file)


def _layers(count: int) -> str:
    return "layer" if count == 1 else f"{count} layers"


def _accumulates_in_bf16(plan: PlanSpec) -> bool:
    return plan.zero_stage == 0 and plan.precision is Precision.BF16 and plan.pp == 1


def configuration(plan_file: PlanFile) -> dict[str, Any]:
    """Return the configuration; all three batch keys are given, so that none is derived."""
    scenario, plan = plan_file.scenario, plan_file.plan
    config: dict[str, Any] = {
        "train_batch_size": plan.batch_sequences,
        "train_micro_batch_size_per_gpu": plan.microbatch_sequences,
        "gradient_accumulation_steps": plan.n_microbatches,
        "optimizer": {
            "type": {"adamw": "AdamW", "sgd": "SGD"}[scenario.job.optimizer],
            "params": _optimizer(scenario),
        },
        "zero_optimization": {"stage": plan.zero_stage, "overlap_comm": True},
        "bf16": {"enabled": plan.precision is Precision.BF16},
        "fp16": {"enabled": plan.precision is Precision.FP16},
        "communication_data_type": scenario.job.gradient_dtype,
    }
    if scenario.run.max_gradient_norm is not None:
        config["gradient_clipping"] = scenario.run.max_gradient_norm
    scheduler = _scheduler(scenario)
    if scheduler is not None:
        config["scheduler"] = scheduler
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
            "activation_checkpoint_interval": plan.recompute_kind.count,
        }
    if plan.recompute != "none":
        config["activation_checkpointing"] = {"partition_activations": False}
    return config


def _optimizer(scenario: Scenario) -> dict[str, Any]:
    run = scenario.run
    params: dict[str, Any] = {"lr": run.learning_rate, "weight_decay": run.weight_decay}
    if scenario.job.optimizer == "adamw":
        params["eps"] = run.adam_epsilon
        if run.adam_beta1 is not None or run.adam_beta2 is not None:
            params["betas"] = [
                given if given is not None else default
                for given, default in ((run.adam_beta1, 0.9), (run.adam_beta2, 0.999))
            ]
    return {name: value for name, value in params.items() if value is not None}


def _scheduler(scenario: Scenario) -> dict[str, Any] | None:
    """Return DeepSpeed's scheduler, which needs the rate, its decay and a warm-up to be given."""
    run, total = scenario.run, scenario.job.n_steps
    if run.learning_rate is None or run.learning_rate_decay is None or not run.warmup_steps:
        return None
    params: dict[str, Any] = {"warmup_num_steps": run.warmup_steps, "warmup_type": "linear"}
    if run.learning_rate_decay == "cosine":
        params["total_num_steps"] = total
        if run.final_learning_rate is not None:
            params["cos_min_ratio"] = run.final_learning_rate / run.learning_rate
        return {"type": "WarmupCosineLR", "params": params}
    params |= {"warmup_min_lr": 0.0, "warmup_max_lr": run.learning_rate}
    if run.learning_rate_decay == "linear":
        return {"type": "WarmupDecayLR", "params": params | {"total_num_steps": total}}
    return {"type": "WarmupLR", "params": params}


EXPORTER = Exporter(
    name="deepspeed",
    description="a DeepSpeed JSON configuration",
    executor="deepspeed",
    emit=_emit,
    read_back=by_reading(read, CONFIG),
    read=read,
)
