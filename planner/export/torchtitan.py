"""torchtitan 0.3.0: a recipe module for `--module` and `--config`.

References
----------
torchtitan 0.3.0: torchtitan/config/configs.py (field names), torchtitan/distributed/
parallel_dims.py (dp_shard x cp x tp = efsdp x ep), torchtitan/trainer.py (rules on batches).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    applying,
    header,
    steps_between_checkpoints,
    with_layers,
)
from planner.export.launch import launch_files, start_command
from simulator.catalog import find_model
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario
from simulator.spec.schedules import ScheduleName

RECIPE = "armillary_recipe/config_registry.py"

SCHEDULES: dict[ScheduleName, str] = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved-1f1b": "Interleaved1F1B",
    "looped-bfs": "LoopedBFS",
    "zero-bubble": "InterleavedZeroBubble",
    "zb-v": "ZBVZeroBubble",
    "dualpipe-v": "DualPipeV",
}
RECOMPUTES: dict[str, str] = {
    "none": "None",
    "selective": "SelectiveAC.Config()",
    "full": "FullAC.Config()",
}


@dataclass(frozen=True, slots=True)
class Base:
    """A model of torchtitan's registry."""

    module: str
    config: str
    flavor: str
    max_sequence_length: int
    """Of its rotary positions."""


BASES: dict[str, Base] = {
    "llama3-8b": Base("llama3", "llama3_8b", "8B", 131072),
    "llama3.1-8b": Base("llama3", "llama3_8b", "8B", 131072),
    "llama3-70b": Base("llama3", "llama3_70b", "70B", 131072),
    "llama3.1-70b": Base("llama3", "llama3_70b", "70B", 131072),
    "llama3.1-405b": Base("llama3", "llama3_70b", "405B", 131072),
    "qwen3-0.6b": Base("qwen3", "qwen3_0_6b", "0.6B", 40960),
    "qwen3-1.7b": Base("qwen3", "qwen3_1_7b", "1.7B", 40960),
    "qwen3-14b": Base("qwen3", "qwen3_14b", "14B", 40960),
    "qwen3-32b": Base("qwen3", "qwen3_32b", "32B", 40960),
    "qwen3-30b-a3b": Base("qwen3", "qwen3_30b_a3b", "30B-A3B", 40960),
    "deepseek-v3": Base("deepseek_v3", "deepseek_v3_671b", "671B", 16384),
}
"""Our catalog's name to torchtitan's."""


def _emit(plan_file: PlanFile) -> Export:
    base = _base(plan_file.scenario)
    dropped = _dropped(plan_file, base)
    needs = (f"the tokenizer and data of torchtitan's {base.config}, where it looks for them",)
    return Export(
        target="torchtitan",
        files=(
            ExportedFile("armillary_recipe/__init__.py", ""),
            ExportedFile(RECIPE, _recipe(plan_file, base, dropped)),
            *launch_files(
                plan_file,
                "-m torchtitan.train --module armillary_recipe --config plan",
                dropped=dropped,
                needs=needs,
                setup=("export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}",),
            ),
        ),
        dropped=dropped,
        needs=needs,
        start=start_command(plan_file),
    )


def _base(scenario: Scenario) -> Base:
    """Return the recipe that ours starts from. Raises InputError for any other model or optimizer.

    A model of one of these names may have been changed in the scenario.
    """
    model = scenario.model
    if model != find_model(model.name):
        raise InputError(
            f"{model.name} was changed in the scenario, and torchtitan's registry has the original",
            where="--to",
            fix="export to megatron, which takes any dimensions",
        )
    base, length = BASES[model.name], scenario.job.sequence_length
    if length > base.max_sequence_length:
        raise InputError(
            f"sequence_length={length}, and torchtitan's {model.name} has "
            f"{base.max_sequence_length} positions",
            where="--to",
        )
    if scenario.job.optimizer != "adamw":
        raise InputError(
            f"torchtitan's recipes have no optimizer {scenario.job.optimizer}", where="--to"
        )
    return base


def _dropped(plan_file: PlanFile, base: Base) -> tuple[str, ...]:
    plan, job = plan_file.plan, plan_file.scenario.job
    return applying(
        (True, f"learning rate: that of torchtitan's {base.config}"),
        (job.gradient_dtype != "fp32", f"gradients in {job.gradient_dtype}: reduced in float32"),
        (job.attention == "unfused", "unfused attention: torchtitan's is fused"),
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: rounded to whole steps"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
    )


def _parallelism(plan: PlanSpec, n_layers: int) -> dict[str, object]:
    values: dict[str, object] = {
        "data_parallel_replicate_degree": plan.dp_replicate,
        "data_parallel_shard_degree": plan.dp_shard,
        "fsdp_reshard_after_forward": "always" if plan.zero_stage == 3 else "never",
        "tensor_parallel_degree": plan.tp,
        "enable_sequence_parallel": plan.sequence_parallel,
        "pipeline_parallel_degree": plan.pp,
        "context_parallel_degree": plan.cp,
        "expert_parallel_degree": plan.ep,
    }
    if plan.pp > 1:
        values |= {
            "pipeline_parallel_schedule": SCHEDULES[plan.schedule],
            "pipeline_parallel_microbatch_size": plan.microbatch_sequences,
            "pipeline_parallel_first_stage_less_layers": 0,
            "pipeline_parallel_last_stage_less_layers": 0,
            "module_fqns_per_model_part": _modules(plan, n_layers),
        }
    return values


def _modules(plan: PlanSpec, n_layers: int) -> list[list[str]]:
    names = iter(f"layers.{layer}" for layer in range(n_layers))
    parts = [[next(names) for _ in range(count)] for count in plan.chunk_layers(n_layers)]
    parts[0].insert(0, "tok_embeddings")
    parts[-1] += ["norm", "lm_head"]
    return parts


def _training(scenario: Scenario, plan: PlanSpec) -> dict[str, object]:
    in_pipeline = plan.n_microbatches if plan.pp > 1 else 1
    return {
        "local_batch_size": plan.microbatch_sequences * in_pipeline,
        "global_batch_size": plan.batch_sequences,
        "seq_len": scenario.job.sequence_length,
        "max_norm": scenario.run.max_gradient_norm,
        "steps": scenario.job.n_steps,
        "disable_cuda_graphs": plan.pp > 1 or plan.ep > 1,
        "dtype": "float32",
        "mixed_precision_param": "float32" if plan.precision is Precision.FP32 else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def _recipe(plan_file: PlanFile, base: Base, dropped: tuple[str, ...]) -> str:
    """Return the module: constants, which are read back, and the function that uses them."""
    scenario, plan = plan_file.scenario, plan_file.plan
    recompute = {"selective": "SelectiveAC", "full": "FullAC"}.get(plan.recompute)
    n_mtp = scenario.model.n_mtp_layers
    flavor = repr(base.flavor) + (f", num_mtp_layers={n_mtp}" if n_mtp else "")
    lines = [
        header(plan_file, dropped).rstrip("\n"),
        '"""torchtitan 0.3.0: --module armillary_recipe --config plan."""',
        "",
        "from torchtitan.config import ParallelismConfig, TrainingConfig",
        *_given(recompute, f"from torchtitan.distributed.activation_checkpoint import {recompute}"),
        *_given(n_mtp, "from torchtitan.models.common.config_utils import decoder_vocab_size"),
        f"from torchtitan.models.{base.module} import model_registry",
        f"from torchtitan.models.{base.module}.config_registry import {base.config}",
        *_given(n_mtp, f"from torchtitan.models.{base.module}.mtp import MTPLoss"),
        "from torchtitan.trainer import Trainer",
        "",
        f"PARALLELISM = {_literal(_parallelism(plan, scenario.model.n_layers))}",
        f"TRAINING = {_literal(_training(scenario, plan))}",
        "",
        "",
        "def plan() -> Trainer.Config:",
        f"    config = {base.config}()",
        f"    config.model_spec = model_registry({flavor})  # without float8 converters",
        *_given(
            n_mtp,
            "    vocabulary = decoder_vocab_size(config.model_spec)",
            "    config.loss = MTPLoss.Config(global_vocab_size=vocabulary)",
        ),
        "    config.parallelism = ParallelismConfig(**PARALLELISM)",
        "    config.training = TrainingConfig(**TRAINING)",
        f"    config.activation_checkpoint = {RECOMPUTES[plan.recompute]}",
        "    config.checkpoint.enable = True",
        f"    config.checkpoint.interval = {steps_between_checkpoints(plan_file)}",
        "    return config",
    ]
    return "\n".join(lines) + "\n"


def _given(condition: object, *lines: str) -> tuple[str, ...]:
    return lines if condition else ()


def _literal(values: dict[str, object]) -> str:
    return "{\n" + "".join(f"    {name!r}: {value!r},\n" for name, value in values.items()) + "}"


def recipe_constants(recipe: str) -> tuple[dict[str, object], dict[str, object], str]:
    """Return PARALLELISM, TRAINING and the recompute of a recipe, without running it."""
    found: dict[str, dict[str, object]] = {}
    tree = ast.parse(recipe)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    recompute = next(
        name for name, call in RECOMPUTES.items() if f"activation_checkpoint = {call}\n" in recipe
    )
    return found["PARALLELISM"], found["TRAINING"], recompute


def _read_back(export: Export, scenario: Scenario) -> PlanSpec:
    parallelism, training, recompute = recipe_constants(export.text(RECIPE))
    shard = _whole(parallelism["data_parallel_shard_degree"])
    pp = _whole(parallelism["pipeline_parallel_degree"])
    cp = _whole(parallelism["context_parallel_degree"])
    dp = shard * _whole(parallelism["data_parallel_replicate_degree"])
    never = parallelism["fsdp_reshard_after_forward"] == "never"
    microbatch = _whole(
        parallelism["pipeline_parallel_microbatch_size"] if pp > 1 else training["local_batch_size"]
    )
    names = {theirs: ours for ours, theirs in SCHEDULES.items()}
    parts = parallelism.get("module_fqns_per_model_part", [])
    assert isinstance(parts, list)
    counts = tuple(sum(name.startswith("layers.") for name in part) for part in parts)
    full = training["mixed_precision_param"] == "float32"
    plan = PlanSpec(
        pp=pp,
        dp_replicate=_whole(parallelism["data_parallel_replicate_degree"]),
        dp_shard=shard,
        cp=cp,
        tp=_whole(parallelism["tensor_parallel_degree"]),
        ep=_whole(parallelism["expert_parallel_degree"]),
        zero_stage=0 if shard * cp == 1 else 2 if never else 3,
        sequence_parallel=bool(parallelism["enable_sequence_parallel"]),
        schedule=names[str(parallelism.get("pipeline_parallel_schedule", "1F1B"))],
        virtual_stages=max(1, len(counts) // pp),
        microbatch_sequences=microbatch,
        n_microbatches=_whole(training["global_batch_size"]) // (dp * microbatch),
        recompute=next(name for name in RECOMPUTES if name == recompute),
        precision=Precision.FP32 if full else Precision.BF16,
    )
    return with_layers(plan, counts, scenario.model.n_layers)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


EXPORTER = Exporter(
    name="torchtitan",
    description="a torchtitan 0.3.0 recipe module",
    executor="torchtitan",
    emit=_emit,
    read_back=_read_back,
)
