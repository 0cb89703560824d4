"""Hugging Face accelerate 1.15: a module that makes the Accelerator of one's own train.py.

References
----------
huggingface/accelerate: src/accelerate/parallelism_config.py, src/accelerate/utils/dataclasses.py
(FullyShardedDataParallelPlugin, FSDP version 2).
"""

from __future__ import annotations

from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    Notes,
    applying,
    by_reading,
    common_drops,
    header,
    literal,
    saves_behind_training,
    steps_between_checkpoints,
    unset,
)
from planner.export.launch import launch_files, require_file, start_command
from planner.export.settings import (
    Reading,
    Settings,
    n_ranks,
    python_calls,
    python_settings,
    share,
)
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.learning import LearningSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec, Scenario

MODULE, MODEL = "armillary_accelerate.py", "model.json"
_NEEDS = (
    f"train.py, which is yours: it makes the model as {MODEL} says, reads the data and trains with "
    "armillary_accelerate.accelerator()",
)
_SECTIONS = {
    "ParallelismConfig": "parallelism",
    "PARALLELISM": "parallelism",
    "FullyShardedDataParallelPlugin": "fsdp",
    "FSDP": "fsdp",
    "Accelerator": "accelerator",
    "ACCELERATOR": "accelerator",
    "TRAINING": "training",
}
_PRECISIONS = {"no": Precision.FP32, "bf16": Precision.BF16, "fp16": Precision.FP16}


def _emit(plan_file: PlanFile) -> Export:
    scenario = plan_file.scenario
    otherwise = dict.fromkeys(LearningSpec.model_fields, "train.py's matter")
    notes = Notes(dropped=_dropped(plan_file), to_set=unset(scenario, otherwise), needs=_NEEDS)
    return Export(
        target="accelerate",
        files=(
            ExportedFile(MODULE, _module(plan_file, notes)),
            ExportedFile(MODEL, scenario.model.model_dump_json(indent=2) + "\n"),
            *launch_files(
                plan_file,
                "train.py",
                notes=notes,
                setup=(require_file("train.py", "it is yours to write, see above"),),
            ),
        ),
        notes=notes,
        start=start_command(plan_file),
    )


def _dropped(plan_file: PlanFile) -> tuple[str, ...]:
    plan, job = plan_file.plan, plan_file.scenario.job
    return applying(
        (True, "TRAINING in the module is for train.py to follow: batch, steps, hyper-parameters"),
        (
            plan.tp > 1,
            f"tp={plan.tp}: the model's own plan divides it (tp_plan=...)",
        ),
        (job.attention == "unfused", "unfused attention: train.py's matter"),
        (job.gradient_dtype == "bf16" and plan.zero_stage == 0, "gradients in bf16: DDP's float32"),
        (
            plan.recompute == "full" and plan.zero_stage == 0,
            "recompute: call model.gradient_checkpointing_enable()",
        ),
        (
            saves_behind_training(plan_file.scenario),
            "asynchronous saves, as the prediction has them: save_state waits for the write",
        ),
    ) + common_drops(plan_file)


def _parallelism(plan: PlanSpec) -> dict[str, object]:
    return {
        "dp_replicate_size": plan.dp_replicate,
        "dp_shard_size": plan.dp_shard,
        "cp_size": plan.cp,
        "tp_size": plan.tp,
    }


def _fsdp(plan: PlanSpec) -> dict[str, object]:
    """Return the settings of FSDP, none where nothing is divided."""
    if plan.zero_stage == 0:
        return {}
    return {
        "fsdp_version": 2,
        "reshard_after_forward": plan.zero_stage == 3,
        "auto_wrap_policy": "transformer_based_wrap",
        "state_dict_type": "SHARDED_STATE_DICT",
        "activation_checkpointing": plan.recompute == "full",
    }


def _accelerator(plan: PlanSpec) -> dict[str, object]:
    name = next(theirs for theirs, ours in _PRECISIONS.items() if ours is plan.precision)
    return {"mixed_precision": name, "gradient_accumulation_steps": plan.n_microbatches}


def _training(plan_file: PlanFile) -> dict[str, object]:
    """Return what train.py must follow; hyper-parameters only where they are given."""
    scenario, plan = plan_file.scenario, plan_file.plan
    return {
        "per_device_batch_size": plan.microbatch_sequences,
        "global_batch_size": plan.batch_sequences,
        "sequence_length": scenario.job.sequence_length,
        "steps": scenario.job.n_steps,
        "save_steps": steps_between_checkpoints(plan_file),
        "seed": scenario.seed,
        "optimizer": scenario.job.optimizer,
        "activation_checkpointing": plan.recompute == "full",
        **_learning(scenario.run),
    }


def _learning(run: RunSpec) -> dict[str, object]:
    given = {name: getattr(run, name) for name in LearningSpec.model_fields}
    return {name: value for name, value in given.items() if value is not None}


def _module(plan_file: PlanFile, notes: Notes) -> str:
    scenario, plan = plan_file.scenario, plan_file.plan
    divides = plan.zero_stage > 0
    sections = {
        "PARALLELISM": _parallelism(plan),
        "FSDP": _fsdp(plan),
        "ACCELERATOR": _accelerator(plan),
        "TRAINING": _training(plan_file),
    }
    lines = [
        header(plan_file, notes).rstrip("\n"),
        '"""accelerate 1.15: accelerator() for train.py, which follows TRAINING."""',
        "",
        *["import torch"] * divides,
        "from accelerate import Accelerator",
        "from accelerate.parallelism_config import ParallelismConfig",
        *["from accelerate.utils import FullyShardedDataParallelPlugin"] * divides,
        *["from torch.distributed.fsdp import MixedPrecisionPolicy"] * divides,
        "",
        *(f"{name} = {literal(values)}" for name, values in sections.items()),
        *(_plugin(scenario.job, plan) if divides else ()),
        "",
        "",
        "def accelerator() -> Accelerator:",
        "    parallelism = ParallelismConfig(**PARALLELISM)",
        f"    return Accelerator({'fsdp_plugin=plugin(), ' * divides}"
        "parallelism_config=parallelism, **ACCELERATOR)",
    ]
    return "\n".join(lines) + "\n"


def _plugin(job: JobSpec, plan: PlanSpec) -> tuple[str, ...]:
    """Return the function that makes the settings of FSDP, number formats included."""
    param = "float32" if plan.precision is Precision.FP32 else "bfloat16"
    reduce = {"fp32": "float32", "bf16": "bfloat16"}[job.gradient_dtype]
    return (
        "",
        "",
        "def plugin() -> FullyShardedDataParallelPlugin:",
        "    policy = MixedPrecisionPolicy(",
        f"        param_dtype=torch.{param}, reduce_dtype=torch.{reduce}",
        "    )",
        "    return FullyShardedDataParallelPlugin(mixed_precision_policy=policy, **FSDP)",
    )


def read(text: str, where: str, scenario: Scenario) -> Reading:
    """Return the plan of a module: ours, or one that makes its own Accelerator and has TRAINING.

    Without ParallelismConfig(...) all ranks are data-parallel, divided where there is a plugin.
    """
    given = Settings(python_settings(text, where, _SECTIONS), where)
    calls = python_calls(text, where)
    divides = "FullyShardedDataParallelPlugin" in calls
    if divides:
        _require_version_2(given)
    ranks = 1 if "ParallelismConfig" in calls else n_ranks(scenario)
    rest = {"dp_shard_size" if divides else "dp_replicate_size": ranks}
    replicate, shard, cp, tp = (
        given.whole(f"parallelism.{name}", default=rest.get(name, 1))
        for name in _parallelism(PlanSpec())
    )
    gathers = given.flag("fsdp.reshard_after_forward", default=True)
    microbatch = given.whole("training.per_device_batch_size")
    names = {name: name for name in _PRECISIONS}
    recompute = given.flag("training.activation_checkpointing", "fsdp.activation_checkpointing")
    steps = given.whole("accelerator.gradient_accumulation_steps", default=1)
    batch = given.whole(
        "training.global_batch_size", default=replicate * shard * microbatch * steps
    )
    dp = replicate * shard
    plan = PlanSpec(
        dp_replicate=replicate,
        dp_shard=shard,
        cp=cp,
        tp=tp,
        zero_stage=(3 if gathers else 2) if divides else 0,
        microbatch_sequences=microbatch,
        n_microbatches=share(batch, dp * microbatch, "global batch over dp x batch", where),
        recompute="full" if recompute else "none",
        precision=_PRECISIONS[given.one_of(names, "accelerator.mixed_precision", default="no")],
    )
    return Reading(plan, given.unread)


def _require_version_2(given: Settings) -> None:
    version = given.whole("fsdp.fsdp_version", default=1)
    if version != 2:
        raise InputError(
            f"fsdp_version={version}: only version 2 of FSDP is read, and accelerate takes 1 "
            "unless told",
            where=given.where,
            fix="say fsdp_version=2 in FullyShardedDataParallelPlugin(...)",
        )


EXPORTER = Exporter(
    name="accelerate",
    description="a module with Hugging Face's Accelerator",
    executor="accelerate",
    emit=_emit,
    read_back=by_reading(read, MODULE),
    read=read,
)
