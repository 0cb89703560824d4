"""Settings of other frameworks as plans, and what their own parsers let through."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import pytest

from armillary.api import import_
from armillary.commands.import_ import command
from planner.export import EXPORTERS, find_exporter
from planner.imports import READERS, read_settings
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.target import find_target
from tests.planner.export.plans import PAIRS, plan_file

SCRIPT = """
#!/bin/bash
#SBATCH --nodes=8
export CUDA_DEVICE_MAX_CONNECTIONS=1
TP=8
PP=${PP:-2}   # stages
MODEL_ARGS=(
    --num-layers 80 --hidden-size 8192
    --num-attention-heads 64 # heads
    --seq-length 4096 --max-position-embeddings 8192
)
PARALLEL_ARGS=(
    --tensor-model-parallel-size $TP --pipeline-model-parallel-size ${PP:-2}
    --sequence-parallel --use-distributed-optimizer
    --num-layers-per-virtual-pipeline-stage 10
)
torchrun --nproc_per_node 8 pretrain_gpt.py ${MODEL_ARGS[@]} ${PARALLEL_ARGS[@]} \\
    --micro-batch-size 1 --global-batch-size=512 --bf16 --recompute-activations --lr 1.5e-4
"""


def read(text: str, framework: str, name: str = "fsdp x tp", where: str = "mine.sh") -> PlanSpec:
    return read_settings(text, where, framework, plan_file(name)).plan_file.plan


def test_a_megatron_script_of_anybody() -> None:
    imported = read_settings(SCRIPT, "mine.sh", "megatron", plan_file("fsdp x tp"))
    assert imported.plan_file.plan == PlanSpec(
        tp=8, pp=2, dp_shard=4, zero_stage=1, sequence_parallel=True, virtual_stages=4,
        schedule="interleaved-1f1b", microbatch_sequences=1, n_microbatches=128,
        recompute="core-attn", precision=Precision.BF16,
    )  # fmt: skip
    assert set(imported.unread) == {"--nproc_per_node", "--max-position-embeddings", "--lr"}
    assert imported.plan_file.prediction.step.step_s > 0


@pytest.mark.parametrize(
    ("flags", "recompute"),
    [
        ("--recompute-activations", "core-attn"),
        ("--recompute-granularity selective", "core-attn"),
        ("--recompute-activations --recompute-modules layernorm mlp", "layernorm+mlp"),
        ("--recompute-granularity full --recompute-method block --recompute-num-layers 2",
         "first-2"),
        ("--micro-batch-size 64", "none"),
    ],
)  # fmt: skip
def test_a_recompute_of_megatron_is_one_that_it_runs(flags: str, recompute: str) -> None:
    """Its `selective` repeats core_attn unless --recompute-modules names others."""
    file = plan_file("ddp")
    plan = read(f"--micro-batch-size 64 --bf16 {flags}", "megatron", name="ddp")
    assert plan.recompute == recompute
    assert find_target("megatron").refusal(file.scenario.model, file.scenario.job, plan) is None


def test_megatron_repeats_the_core_of_unfused_attention_by_its_own_name() -> None:
    """Which is `selective` there: the search has one name for both."""
    file = plan_file("ddp")
    job = file.scenario.job.model_copy(update={"attention": "unfused"})
    scenario = file.scenario.model_copy(update={"job": job})
    plan = file.plan.model_copy(update={"recompute": "selective"})
    unfused = file.model_copy(update={"scenario": scenario, "plan": plan})
    flags = EXPORTERS["megatron"].export(unfused).text("megatron.args")
    assert "--recompute-modules core_attn" in flags
    read_back = read_settings(flags, "mine.args", "megatron", unfused)
    assert read_back.plan_file.plan.recompute == "selective"


def test_megatron_defaults_hold_for_what_is_missing() -> None:
    """It derives one microbatch where no global batch is given, so the batch is another one."""
    plan = read("--micro-batch-size 64 --bf16", "megatron", name="ddp")
    assert plan == PlanSpec(dp_replicate=8, microbatch_sequences=64, precision=Precision.BF16)
    with pytest.raises(InputError, match="= 16 sequences, and the job's batch is 512"):
        read("--micro-batch-size 2 --bf16", "megatron", name="ddp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # What Megatron's TransformerConfig lets through.
        ("--tensor-model-parallel-size 1 --pipeline-model-parallel-size 5", "not divisible by 5"),
        (
            "--pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 30",
            "= 120 chunks, and the model has 80 layers",
        ),
        ("--expert-model-parallel-size 3", "ep=3 does not divide"),
        # Another question than the scenario's.
        ("--num-layers 32", "--num-layers 32, and the scenario has 80"),
        ("--num-experts 8", "--num-experts 8, and the scenario has none"),
        ("--global-batch-size 64", "--global-batch-size 64, and the scenario has 512"),
        # Values that are none.
        ("--tensor-model-parallel-size $TP", "--tensor-model-parallel-size is \\$TP"),
        ("--tensor-model-parallel-size 0", "is not between 1 and"),
        ("--tensor-model-parallel-size 1e9", "is 1e9; a whole number"),
        ("--data-parallel-sharding-strategy half --use-megatron-fsdp", "known are no_shard"),
        ("--recompute-granularity sideways", "recompute"),
        ("--pipeline-model-parallel-layout 'Et*79|((t)*1)*2L'", "layout is E"),
        ("--pipeline-model-parallel-layout 't*1000000000'", "layout is t"),
        ("--lr 'unclosed", "cannot be split into words"),
    ],
)
def test_a_megatron_script_that_is_no_plan(text: str, message: str) -> None:
    words = f"{text} --micro-batch-size 1" + " --global-batch-size 512" * ("batch" not in text)
    with pytest.raises(InputError, match=message):
        read(words, "megatron")


@pytest.mark.parametrize(
    ("layout", "counts"),
    [
        ("Et*16|t*20|t*24|t*20L", (16, 20, 24, 20)),
        ("Et*17|(t*21|)*2t*21L", (17, 21, 21, 21)),
        ("Et*8,(|ttttttttt)*6|t*18,L", (8, *[9] * 6, 18)),
    ],
)
def test_products_in_a_layout_of_megatron(layout: str, counts: tuple[int, ...]) -> None:
    flags = f"--pipeline-model-parallel-size 4 --pipeline-model-parallel-layout '{layout}'"
    plan = read(f"{flags} --micro-batch-size 1 --global-batch-size 512 --bf16", "megatron")
    assert plan.layers_per_chunk == counts
    assert plan.virtual_stages == len(counts) // 4


@pytest.mark.parametrize(
    ("software", "ep", "given", "refused", "said"),
    [
        ("megatron-core-2024", 8, "1", False, False),
        ("megatron-core-2024", 8, "2", True, False),
        ("megatron-core-2024", 8, None, False, True),  # Megatron takes tp
        ("megatron-core-2024", 1, None, False, False),
        ("megatron-core-2024", 1, "1", True, False),
        ("megatron-core-split-experts", 8, "2", False, False),
        ("megatron-core-split-experts", 8, "1", True, False),
    ],
)
def test_tensor_parallelism_inside_experts_is_that_of_the_price(
    software: str, ep: int, given: str | None, refused: bool, said: bool
) -> None:
    file = plan_file("mixtral")
    job = file.scenario.job.model_copy(update={"software": software})
    file = file.model_copy(update={"scenario": file.scenario.model_copy(update={"job": job})})
    text = (
        f"--tensor-model-parallel-size 2 --expert-model-parallel-size {ep} --sequence-parallel "
        "--use-distributed-optimizer --micro-batch-size 1 --global-batch-size 512 --bf16"
    )
    text += "" if given is None else f" --expert-tensor-parallel-size {given}"
    if refused:
        with pytest.raises(InputError, match=f"size {given}, and job.software={software}"):
            read_settings(text, "mine.sh", "megatron", file)
        return
    imported = read_settings(text, "mine.sh", "megatron", file)
    line = "--expert-tensor-parallel-size (tp=2 unless told, priced as 1)"
    assert imported.unread == ((line,) if said else ())
    again = find_exporter("megatron").export(imported.plan_file)
    assert find_exporter("megatron").read_back(again, file.scenario) == imported.plan_file.plan


DEEPSPEED: dict[str, Any] = {
    "train_batch_size": 512,
    "train_micro_batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 2,
    "zero_optimization": {"stage": 3, "overlap_comm": True},
    "bf16": {"enabled": True},
    "wall_clock_breakdown": False,
}


def test_a_deepspeed_configuration_of_anybody() -> None:
    text = json.dumps(DEEPSPEED)
    imported = read_settings(text, "ds.json", "deepspeed", plan_file("fsdp x tp"))
    assert imported.plan_file.plan == PlanSpec(
        dp_shard=64, zero_stage=3, microbatch_sequences=4, n_microbatches=2,
        precision=Precision.BF16,
    )  # fmt: skip
    assert imported.unread == ("wall_clock_breakdown", "zero_optimization.overlap_comm")
    for missing in ("train_batch_size", "gradient_accumulation_steps"):
        rest = {name: value for name, value in DEEPSPEED.items() if name != missing}
        assert read(json.dumps(rest), "deepspeed") == imported.plan_file.plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # What DeepSpeed lets through: top-level keys that it does not know, and degrees.
        ({"tensor_paralel": {"autotp_size": 8}}, "unknown key 'tensor_paralel'; did you mean"),
        ({"pipeline": {"stages": 3}}, "64 is not divisible by 3"),
        ({"tensor_parallel": {"autotp_size": 3}}, "64 is not divisible by 3"),
        ({"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 3}}, "second copy"),
        # With two keys, its integer division hides a remainder.
        ({"train_micro_batch_size_per_gpu": 3}, "train_batch_size=512 is not .* 3 x 2 x 64"),
        ({"train_batch_size": "auto"}, "train_batch_size is auto; a whole number"),
        ({"zero_optimization": {"stage": 4}}, "less than or equal to 3"),
        ({"zero_optimization": 3}, "zero_optimization is no object"),
    ],
)
def test_a_deepspeed_configuration_that_is_no_plan(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(json.dumps(DEEPSPEED | changes), "deepspeed")


@pytest.mark.parametrize(
    ("pipeline", "recompute", "unread"),
    [
        ({"stages": 4, "activation_checkpoint_interval": 2}, "groups-of-2", set()),
        ({"stages": 4, "activation_checkpoint_interval": 1, "seed_layers": True}, "full",
         {"pipeline.seed_layers"}),
        ({"stages": 4, "activation_checkpoint_interval": 0}, "none", set()),
        # Without PipelineModule nobody looks at it.
        ({"activation_checkpoint_interval": 2}, "none",
         {"pipeline.activation_checkpoint_interval"}),
    ],
)  # fmt: skip
def test_the_interval_of_deepspeed_is_a_group_of_layers(
    pipeline: dict[str, Any], recompute: str, unread: set[str]
) -> None:
    pp = pipeline.get("stages", 1)
    config = DEEPSPEED | {
        "zero_optimization": {"stage": 1}, "pipeline": pipeline,
        "gradient_accumulation_steps": 2 * pp, "bf16": {"enabled": True, "check_grad_overflow": 1},
    }  # fmt: skip
    file = plan_file("fsdp x tp")
    imported = read_settings(json.dumps(config), "ds.json", "deepspeed", file)
    plan = imported.plan_file.plan
    assert plan.recompute == recompute
    assert find_target("deepspeed").refusal(file.scenario.model, file.scenario.job, plan) is None
    others = {"bf16.check_grad_overflow", "wall_clock_breakdown"}
    assert set(imported.unread) == unread | others


RECIPE = """
def mine():
    return Trainer.Config(
        training=TrainingConfig(local_batch_size=4, global_batch_size=512, seq_len=4096),
        parallelism=ParallelismConfig(
            data_parallel_replicate_degree=2,
            tensor_parallel_degree=8,
            pipeline_parallel_degree=STAGES or 1,
        ),
        activation_checkpoint=FullAC.Config(),
    )
"""
TOML = """
[training]
local_batch_size = 4
global_batch_size = 512
[parallelism]
data_parallel_replicate_degree = 2
tensor_parallel_degree = 8
[activation_checkpoint]
mode = "full"
"""
FLAGS = (
    "torchrun -m torchtitan.train --training.local_batch_size=4 --training.global-batch-size 512 "
    "--parallelism.data_parallel_replicate_degree 2 --parallelism.tensor_parallel_degree 8 "
    "--activation_checkpoint.mode full"
)


@pytest.mark.parametrize(
    ("where", "text"), [("mine.py", RECIPE), ("mine.toml", TOML), ("mine.sh", FLAGS)]
)
def test_settings_of_torchtitan_in_each_form(where: str, text: str) -> None:
    assert read(text, "torchtitan", where=where) == PlanSpec(
        tp=8, dp_replicate=2, dp_shard=4, zero_stage=3, sequence_parallel=True,
        microbatch_sequences=4, n_microbatches=16, recompute="full", precision=Precision.BF16,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "option", "recompute"),
    [
        ("selective", "2", "every-2"),
        ("selective", "1", "full"),
        ("selective", "op", "selective"),
        ("full", "2", "full"),
        ("none", "2", "none"),
    ],
)
def test_a_selective_option_of_torchtitan_names_layers(
    mode: str, option: str, recompute: str
) -> None:
    toml = TOML.replace('"full"', f'"{mode}"\nselective_ac_option = "{option}"')
    flags = FLAGS.replace(
        "mode full", f"mode {mode} --activation_checkpoint.selective_ac_option {option}"
    )
    config = f"ActivationCheckpointConfig(mode={mode!r}, selective_ac_option={option!r})"
    recipe = RECIPE.replace("FullAC.Config()", config)
    for where, text in (("mine.toml", toml), ("mine.sh", flags), ("mine.py", recipe)):
        assert read(text, "torchtitan", where=where).recompute == recompute


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--activation_checkpoint.mode selective --activation_checkpoint.selective_ac_option half",
         "selective_ac_option is half; a whole number"),
        # What torchtitan's ParallelDims lets through.
        ("--parallelism.expert_parallel_degree 3", "ep=3 does not divide"),
        ("--parallelism.pipeline_parallel_schedule nope --parallelism.pipeline_parallel_degree 2",
         "pipeline_parallel_schedule=nope is no decision of a plan; known are GPipe"),
        ("--parallelism.tensor_parallel_degree 3", "64 is not divisible by 3"),
        ("--parallelism.data_parallel_shard_degree 7", "dp"),
        ("--training.dtype float8", "dtype float8 is none of"),
        ("--nothing.of_it 3", "it sets nothing of torchtitan's parallelism"),
    ],
)  # fmt: skip
def test_settings_of_torchtitan_that_are_no_plan(text: str, message: str) -> None:
    rest = " --training.local_batch_size 1 --training.global_batch_size 512"
    with pytest.raises(InputError, match=message):
        read(text + rest * ("nothing" not in text), "torchtitan")


ACCELERATE = """
from accelerate import Accelerator, FullyShardedDataParallelPlugin
TRAINING = {"per_device_batch_size": 4, "global_batch_size": 512}
accelerator = Accelerator(mixed_precision="bf16"<plugin>)
"""
FSDP = ", fsdp_plugin=FullyShardedDataParallelPlugin(<version>reshard_after_forward=False)"


def test_an_accelerator_without_degrees_takes_all_ranks() -> None:
    """Divided where there is a plugin of FSDP, copies under plain DDP."""
    rest: dict[str, Any] = {
        "microbatch_sequences": 4, "n_microbatches": 2, "precision": Precision.BF16
    }  # fmt: skip
    text = ACCELERATE.replace("<plugin>", FSDP)
    divided = text.replace("<version>", "fsdp_version=2, ")
    assert read(divided, "accelerate") == PlanSpec(dp_shard=64, zero_stage=2, **rest)
    plain = ACCELERATE.replace("<plugin>", "")
    assert read(plain, "accelerate") == PlanSpec(dp_replicate=64, **rest)
    for version in ("", "fsdp_version=1, "):
        with pytest.raises(InputError, match="fsdp_version=1: only version 2 of FSDP is read"):
            read(text.replace("<version>", version), "accelerate")


def test_a_recipe_is_read_and_never_run() -> None:
    text = 'import os\nos.remove("/nowhere")\nraise SystemExit\n' + RECIPE
    assert read(text, "torchtitan", where="mine.py").tp == 8
    with pytest.raises(InputError, match="not valid Python"):
        read("(" * 10_000, "torchtitan", where="mine.py")


def test_the_help_names_every_framework_that_is_read() -> None:
    """The help is fixed text, since the start of the program loads no planner."""
    hint = get_type_hints(command, include_extras=True)["framework"]
    assert hint.__metadata__[0].help == f"{', '.join(READERS[:-1])} or {READERS[-1]}."
    assert all(name in str(import_.__doc__).lower() for name in READERS)


def test_frameworks_without_settings_are_refused() -> None:
    assert set(READERS) == {"torchtitan", "megatron", "deepspeed", "accelerate"}
    for name in set(EXPORTERS) - set(READERS):
        with pytest.raises(InputError, match=f"{name} has no settings of its own"):
            read("", name)
    with pytest.raises(InputError, match="did you mean megatron"):
        read("", "megatorn")


@pytest.mark.parametrize(("target", "name"), [pair for pair in PAIRS if pair[0] in READERS][::4])
def test_an_export_is_read_as_the_plan_that_it_is(target: str, name: str) -> None:
    file = plan_file(name)
    export = find_exporter(target).export(file)
    main = next(each for each in export.files if each.text and not each.executable
                and each.name != "model.json")  # fmt: skip
    found = read_settings(main.text, main.name, target, file).plan_file.plan
    assert found == file.plan
