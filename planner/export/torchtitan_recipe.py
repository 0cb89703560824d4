"""torchtitan 0.3.0: the text of a recipe module, and what it says.

References
----------
torchtitan 0.3.0: torchtitan/config/configs.py, torchtitan/models/common/rope.py, torchtitan/
components/optimizer/ (field names).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from planner.export.exporter import (
    Notes,
    header,
    literal,
    saves_behind_training,
    steps_between_checkpoints,
)
from simulator.spec.base import Precision
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import RunSpec, Scenario
from simulator.spec.schedules import ScheduleName

SCHEDULES: dict[ScheduleName, str] = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved-1f1b": "Interleaved1F1B",
    "looped-bfs": "LoopedBFS",
    "zero-bubble": "InterleavedZeroBubble",
    "zb-v": "ZBVZeroBubble",
    "dualpipe-v": "DualPipeV",
}
RECOMPUTES = {"selective": "SelectiveAC", "full": "FullAC"}
"""Classes of what a recipe's activation_checkpoint is, else None."""
_ASYNC_MODES = {True: "async", False: "disabled"}
"""torchtitan's, by whether training goes on while a checkpoint is written; "async" copies first."""


@dataclass(frozen=True, slots=True)
class Base:
    """A model of torchtitan's registry."""

    module: str
    config: str
    flavor: str
    max_sequence_length: int
    """Of its rotary positions."""


def _rope(model: ModelSpec) -> dict[str, object]:
    """Return the settings of `RoPE.Config`."""
    scaling = model.rope_scaling
    rope: dict[str, object] = {"theta": model.rope_base, "scaling": "none"}
    if scaling is not None and scaling.kind == "llama3":
        rope |= {
            "scaling": "llama",
            "scaling_factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_positions,
        }
    if scaling is not None and scaling.kind == "yarn":
        rope |= {
            "scaling": "yarn",
            "rope_factor": scaling.factor,
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
            "original_seq_len": scaling.original_positions,
        }
    return rope


def _optimizer(run: RunSpec) -> dict[str, object]:
    betas = (run.adam_beta1, run.adam_beta2)
    given = {
        "lr": run.learning_rate,
        "betas": None if betas == (None, None) else _or_default(betas),
        "eps": run.adam_epsilon,
        "weight_decay": run.weight_decay,
    }
    return {name: value for name, value in given.items() if value is not None}


def _or_default(betas: tuple[float | None, float | None]) -> tuple[float, float]:
    first, second = betas
    return (0.9 if first is None else first, 0.95 if second is None else second)


def _schedule(run: RunSpec) -> dict[str, object]:
    """Return the settings of `LRSchedulersContainer.Config` that the scenario gives."""
    values: dict[str, object] = {}
    if run.warmup_steps is not None:
        values["warmup_steps"] = run.warmup_steps
    if run.learning_rate_decay == "constant":
        values["decay_ratio"] = 0.0
    elif run.learning_rate_decay is not None:
        values |= {"decay_ratio": None, "decay_type": run.learning_rate_decay}
    if run.final_learning_rate is not None and run.learning_rate is not None:
        values["min_lr_factor"] = run.final_learning_rate / run.learning_rate
    return values


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
    norm = scenario.run.max_gradient_norm
    return {
        "local_batch_size": plan.microbatch_sequences * in_pipeline,
        "global_batch_size": plan.batch_sequences,
        "seq_len": scenario.job.sequence_length,
        **({} if norm is None else {"max_norm": norm}),
        "steps": scenario.job.n_steps,
        "disable_cuda_graphs": plan.pp > 1 or plan.ep > 1,
        "dtype": "float32",
        "mixed_precision_param": "float32" if plan.precision is Precision.FP32 else "bfloat16",
        "mixed_precision_reduce": "float32",
    }


def recipe(plan_file: PlanFile, base: Base, notes: Notes) -> str:
    """Return the module: constants, which are read back, and the function that uses them."""
    scenario, plan = plan_file.scenario, plan_file.plan
    model, run = scenario.model, scenario.run
    recompute = RECOMPUTES.get(plan.recompute)
    n_mtp = model.n_mtp_layers
    bias_rate = model.moe.expert_bias_rate if model.moe else 0
    flavor = repr(base.flavor) + (f", num_mtp_layers={n_mtp}" if n_mtp else "")
    lines = [
        header(plan_file, notes).rstrip("\n"),
        '"""torchtitan 0.3.0: --module armillary_recipe --config plan."""',
        "",
        "from torchtitan.config import ParallelismConfig, TrainingConfig",
        *_given(recompute, f"from torchtitan.distributed.activation_checkpoint import {recompute}"),
        *_given(n_mtp, "from torchtitan.models.common.config_utils import decoder_vocab_size"),
        *_given(bias_rate, "from torchtitan.models.common.moe import MoE"),
        "from torchtitan.models.common.nn_modules import RMSNorm",
        "from torchtitan.models.common.rope import RoPE",
        f"from torchtitan.models.{base.module} import model_registry",
        f"from torchtitan.models.{base.module}.config_registry import {base.config}",
        *_given(n_mtp, f"from torchtitan.models.{base.module}.mtp import MTPLoss"),
        "from torchtitan.trainer import Trainer",
        "",
        f"PARALLELISM = {literal(_parallelism(plan, model.n_layers))}",
        f"TRAINING = {literal(_training(scenario, plan))}",
        f"ROPE = {literal(_rope(model))}",
        f"OPTIMIZER = {literal(_optimizer(run))}",
        f"SCHEDULE = {literal(_schedule(run))}",
        "",
        "",
        "def put(values: dict, *configs) -> None:",
        "    for config in configs:",
        "        for name, value in values.items():",
        "            setattr(config, name, value)",
        "",
        "",
        "def parts(config, kind: type) -> list:",
        "    return [part for _, part, _, _ in config.traverse(kind)]",
        "",
        "",
        "def plan() -> Trainer.Config:",
        f"    config = {base.config}()",
        f"    config.model_spec = model_registry({flavor})  # without float8 converters",
        "    model = config.model_spec.model",
        f"    put({{'eps': {model.norm_eps!r}}}, *parts(model, RMSNorm.Config))",
        "    put(ROPE, *parts(model, RoPE.Config))",
        *_given(
            bias_rate,
            f"    put({{'load_balance_coeff': {bias_rate!r}}}, *parts(model, MoE.Config))",
        ),
        *_given(
            n_mtp,
            "    vocabulary = decoder_vocab_size(config.model_spec)",
            "    config.loss = MTPLoss.Config(global_vocab_size=vocabulary)",
        ),
        "    config.parallelism = ParallelismConfig(**PARALLELISM)",
        "    config.training = TrainingConfig(**TRAINING)",
        "    for group in config.optimizer.param_groups:",
        "        group.optimizer_kwargs.update(OPTIMIZER)",
        "    put(SCHEDULE, config.lr_scheduler)",
        f"    config.debug.seed = {scenario.seed}",
        f"    config.activation_checkpoint = {recompute and f'{recompute}.Config()'}",
        "    config.checkpoint.enable = True",
        f"    config.checkpoint.interval = {steps_between_checkpoints(plan_file)}",
        f"    config.checkpoint.async_mode = {_ASYNC_MODES[saves_behind_training(scenario)]!r}",
        "    return config",
    ]
    return "\n".join(lines) + "\n"


def _given(condition: object, *lines: str) -> tuple[str, ...]:
    return lines if condition else ()


def recipe_constants(recipe: str) -> tuple[dict[str, object], dict[str, object]]:
    """Return PARALLELISM and TRAINING of a recipe, without running it."""
    found: dict[str, dict[str, object]] = {}
    tree = ast.parse(recipe)
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found["PARALLELISM"], found["TRAINING"]
