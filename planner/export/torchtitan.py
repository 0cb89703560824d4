"""torchtitan 0.3.0: a recipe module for `--module` and `--config`.

References
----------
torchtitan 0.3.0: torchtitan/config/configs.py (field names), torchtitan/distributed/
parallel_dims.py (dp_shard x cp x tp = efsdp x ep), torchtitan/trainer.py (rules on batches).
"""

from __future__ import annotations

import ast
import shlex
from dataclasses import dataclass

from planner.export.exporter import Export, ExportedFile, Exporter, header, layers_of_ranks
from planner.export.torchrun import nodes_and_ranks, torchrun_command
from simulator.schedule import actions_of
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec, RecomputeName, ScheduleName
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

RECIPE = "armillary_recipe/config_registry.py"
SCHEDULE_CSV = "schedule.csv"

SCHEDULES: dict[ScheduleName, str] = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved-1f1b": "Interleaved1F1B",
}
RECOMPUTES: dict[RecomputeName, str] = {
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


BASES: dict[str, Base] = {
    "llama3-8b": Base("llama3", "llama3_8b", "8B"),
    "llama3.1-8b": Base("llama3", "llama3_8b", "8B"),
    "llama3-70b": Base("llama3", "llama3_70b", "70B"),
    "llama3.1-70b": Base("llama3", "llama3_70b", "70B"),
    "llama3.1-405b": Base("llama3", "llama3_405b", "405B"),
    "qwen3-0.6b": Base("qwen3", "qwen3_0_6b", "0.6B"),
    "qwen3-1.7b": Base("qwen3", "qwen3_1_7b", "1.7B"),
    "qwen3-14b": Base("qwen3", "qwen3_14b", "14B"),
    "qwen3-32b": Base("qwen3", "qwen3_32b", "32B"),
    "qwen3-30b-a3b": Base("qwen3", "qwen3_30b_a3b", "30B-A3B"),
    "deepseek-v3": Base("deepseek_v3", "deepseek_v3_671b", "671B"),
}
"""Our catalog's name to torchtitan's."""


def _emit(plan_file: PlanFile) -> Export:
    scenario, plan = plan_file.scenario, plan_file.plan
    base = _base(scenario.model)
    _require_possible(scenario, plan)
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    recipe = _recipe(plan_file, base, _dropped(plan_file))
    command = torchrun_command(
        n_nodes,
        n_ranks,
        ["-m", "torchtitan.train", "--module", "armillary_recipe", "--config", "plan"],
    )
    script = (
        "#!/usr/bin/env bash\n"
        + header(plan_file, ())
        + 'set -euo pipefail\ncd "$(dirname "${BASH_SOURCE[0]}")"\n'
        + f"export PYTHONPATH={shlex.quote('.')}${{PYTHONPATH:+:$PYTHONPATH}}\nexec {command}\n"
    )
    files = [
        ExportedFile("armillary_recipe/__init__.py", ""),
        ExportedFile(RECIPE, recipe),
        ExportedFile("launch.sh", script, executable=True),
    ]
    if plan.pp > 1:
        files.append(ExportedFile(SCHEDULE_CSV, actions_of(plan).to_csv()))
    return Export(
        target="torchtitan",
        files=tuple(files),
        dropped=_dropped(plan_file),
        start="./launch.sh",
    )


def _base(model: ModelSpec) -> Base:
    if model.name not in BASES:
        raise InputError(
            f"torchtitan's registry has no {model.name}",
            where="--to",
            fix=f"it has {', '.join(BASES)}",
        )
    return BASES[model.name]


def _require_possible(scenario: Scenario, plan: PlanSpec) -> None:
    """Refuse what torchtitan accepts at first and cannot run."""
    inner = plan.dp_shard * plan.cp * plan.tp
    rules = (
        (
            inner % plan.ep == 0,
            f"ep={plan.ep} does not divide dp_shard x cp x tp = {inner} (ParallelDims)",
        ),
        (
            plan.zero_stage > 0 or plan.dp_replicate == 1 or plan.n_ranks == plan.dp,
            f"dp_replicate={plan.dp_replicate} without sharding beside tp, cp or pp",
        ),
        (
            plan.zero_stage > 0 or plan.cp == 1,
            "cp > 1 with zero_stage=0: it always shards weights over cp",
        ),
        (
            scenario.job.sequence_length
            % ((plan.tp if plan.sequence_parallel else 1) * (2 * plan.cp if plan.cp > 1 else 1))
            == 0,
            f"sequence_length={scenario.job.sequence_length} for tp={plan.tp}, cp={plan.cp}",
        ),
    )
    for allowed, what in rules:
        if not allowed:
            raise InputError(f"torchtitan cannot run {what}", where="--to")


def _dropped(plan_file: PlanFile) -> tuple[str, ...]:
    plan = plan_file.plan
    unsaid = (
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: torchtitan counts steps"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
    )
    return tuple(what for applies, what in unsaid if applies)


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
    parts = [[f"layers.{layer}" for layer in chunk] for chunk in layers_of_ranks(plan, n_layers)]
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
    scenario, plan = plan_file.scenario, plan_file.plan
    imports = {"selective": "SelectiveAC", "full": "FullAC"}.get(plan.recompute)
    lines = [
        header(plan_file, dropped).rstrip("\n"),
        '"""torchtitan 0.3.0: --module armillary_recipe --config plan."""',
        "",
        "from torchtitan.config import ParallelismConfig, TrainingConfig",
        *([f"from torchtitan.distributed.activation_checkpoint import {imports}"] * bool(imports)),
        f"from torchtitan.models.{base.module} import model_registry",
        f"from torchtitan.models.{base.module}.config_registry import {base.config}",
        "from torchtitan.trainer import Trainer",
        "",
        f"PARALLELISM = {_literal(_parallelism(plan, scenario.model.n_layers))}",
        f"TRAINING = {_literal(_training(scenario, plan))}",
        "",
        "",
        "def plan() -> Trainer.Config:",
        f"    config = {base.config}()",
        f"    config.model_spec = model_registry({base.flavor!r})  # without float8 converters",
        "    config.parallelism = ParallelismConfig(**PARALLELISM)",
        "    config.training = TrainingConfig(**TRAINING)",
        f"    config.activation_checkpoint = {RECOMPUTES[plan.recompute]}",
        "    return config",
    ]
    return "\n".join(lines) + "\n"


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
        cp=_whole(parallelism["context_parallel_degree"]),
        tp=_whole(parallelism["tensor_parallel_degree"]),
        ep=_whole(parallelism["expert_parallel_degree"]),
        zero_stage=0 if shard == 1 else 2 if never else 3,
        sequence_parallel=bool(parallelism["enable_sequence_parallel"]),
        schedule=names[str(parallelism.get("pipeline_parallel_schedule", "1F1B"))],
        virtual_stages=max(1, len(counts) // pp),
        microbatch_sequences=microbatch,
        n_microbatches=_whole(training["global_batch_size"]) // (dp * microbatch),
        recompute=next(name for name in RECOMPUTES if name == recompute),
        precision=Precision.FP32 if full else Precision.BF16,
    )
    even = plan.chunk_layers(scenario.model.n_layers)
    return plan if counts in ((), even) else plan.model_copy(update={"layers_per_chunk": counts})


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


EXPORTER = Exporter(
    name="torchtitan",
    description="a torchtitan 0.3.0 recipe module",
    emit=_emit,
    read_back=_read_back,
)
