"""torchtitan 0.3.0: a recipe module for `--module` and `--config`.

References
----------
torchtitan 0.3.0: torchtitan/config/configs.py (field names), torchtitan/distributed/
parallel_dims.py (dp_shard x cp x tp = efsdp x ep), torchtitan/trainer.py (rules on batches).
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
    unset,
)
from planner.export.launch import launch_files, start_command
from planner.export.torchtitan_read import read
from planner.export.torchtitan_recipe import Base, recipe
from simulator.catalog import find_model
from simulator.spec.errors import InputError
from simulator.spec.learning import LearningSpec
from simulator.spec.model import MoeSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

RECIPE = "armillary_recipe/config_registry.py"

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
    scenario = plan_file.scenario
    notes = Notes(
        dropped=_dropped(plan_file, base),
        to_set=_to_set(scenario, base),
        needs=(f"the tokenizer and data of torchtitan's {base.config}, where it looks for them",),
    )
    return Export(
        target="torchtitan",
        files=(
            ExportedFile("armillary_recipe/__init__.py", ""),
            ExportedFile(RECIPE, recipe(plan_file, base, notes)),
            *launch_files(
                plan_file,
                "-m torchtitan.train --module armillary_recipe --config plan",
                notes=notes,
                setup=("export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}",),
            ),
        ),
        notes=notes,
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
    scenario = plan_file.scenario
    job, run, moe = scenario.job, scenario.run, scenario.model.moe
    scaling = scenario.model.rope_scaling
    return (
        applying(
            (True, f"initial weights: those of torchtitan's {base.flavor}"),
            (job.gradient_dtype != "fp32", f"gradients in {job.gradient_dtype}: float32"),
            (job.attention == "unfused", "unfused attention: torchtitan's is fused"),
            (
                run.final_learning_rate is not None and run.learning_rate is None,
                "final_learning_rate: torchtitan takes its share of learning_rate, which is unset",
            ),
            (
                scaling is not None and scaling.mscale_all_dim != scaling.mscale,
                "mscale_all_dim: torchtitan has one mscale",
            ),
        )
        + (_unbalanced(moe) if moe else ())
        + common_drops(plan_file)
    )


def _unbalanced(moe: MoeSpec) -> tuple[str, ...]:
    """Return what torchtitan does not do about balance: it has a bias on experts and no loss."""
    instead = "" if moe.expert_bias_rate else "; a bias of rate 0.001 balances instead"
    return applying(
        (
            moe.load_balancing not in (None, "none"),
            f"{moe.load_balancing} of {moe.aux_loss_coefficient:g}: torchtitan has none{instead}",
        ),
        (moe.z_loss_coefficient > 0, f"z_loss_coefficient={moe.z_loss_coefficient:g}"),
        (moe.most_nodes > 0, f"most_nodes={moe.most_nodes}: experts are chosen by groups"),
    )


def _to_set(scenario: Scenario, base: Base) -> tuple[str, ...]:
    its = f"that of torchtitan's {base.config}"
    otherwise = dict.fromkeys(LearningSpec.model_fields, its) | {"max_gradient_norm": "1.0"}
    moe = scenario.model.moe
    return unset(scenario, otherwise) + applying(
        (
            moe is not None and moe.load_balancing is None and not moe.expert_bias_rate,
            "model.moe.load_balancing: a bias of rate 0.001",
        ),
        (
            scenario.model.n_mtp_layers > 0,
            "the weight of the loss of further tokens: torchtitan's",
        ),
    )


EXPORTER = Exporter(
    name="torchtitan",
    description="a torchtitan 0.3.0 recipe module",
    executor="torchtitan",
    emit=_emit,
    read_back=by_reading(read, RECIPE),
    read=read,
)
