"""DeepSpeed 0.19: the JSON configuration of one engine.

References
----------
deepspeedai/DeepSpeed: deepspeed/runtime/config.py, runtime/zero/config.py, runtime/
tensor_parallel/config.py. Top-level keys are not checked there, so ours are compared in a test.
"""

from __future__ import annotations

import json
from typing import Any

from planner.export.exporter import Export, ExportedFile, Exporter, header
from planner.export.torchrun import nodes_and_ranks, torchrun_command
from simulator.spec.base import Precision
from simulator.spec.plan import PlanSpec, RecomputeName
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

CONFIG = "ds_config.json"


def _emit(plan_file: PlanFile) -> Export:
    plan = plan_file.plan
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    dropped = _dropped(plan)
    command = torchrun_command(n_nodes, n_ranks, ["train.py", "--deepspeed_config", CONFIG])
    script = (
        "#!/usr/bin/env bash\n"
        + header(plan_file, dropped)
        + "# train.py is yours: it builds the model and calls deepspeed.initialize.\n"
        + 'set -euo pipefail\ncd "$(dirname "${BASH_SOURCE[0]}")"\n'
        + f'exec {command} "$@"\n'
    )
    config = json.dumps(configuration(plan_file), indent=2) + "\n"
    return Export(
        target="deepspeed",
        files=(ExportedFile(CONFIG, config), ExportedFile("launch.sh", script, executable=True)),
        dropped=dropped,
        start="./launch.sh",
    )


def _dropped(plan: PlanSpec) -> tuple[str, ...]:
    unsaid = (
        (
            plan.pp > 1,
            f"pp={plan.pp}: wrap the model in PipelineModule(num_stages={plan.pp}) in train.py",
        ),
        (bool(plan.layers_per_chunk), "layers_per_chunk: PipelineModule divides by itself"),
        (
            plan.recompute == "full",
            "recompute: call deepspeed.checkpointing on every layer in train.py",
        ),
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: a matter of train.py"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
    )
    return tuple(what for applies, what in unsaid if applies)


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
    if plan.tp > 1:
        config["tensor_parallel"] = {"autotp_size": plan.tp}
    if plan.pp > 1:
        interval = int(plan.recompute == "full")
        config["pipeline"] = {
            "stages": plan.pp,
            "partition": "uniform",
            "activation_checkpoint_interval": interval,
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
    emit=_emit,
    read_back=_read_back,
)
