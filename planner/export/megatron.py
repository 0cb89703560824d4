"""Megatron-LM: the arguments of pretrain_gpt.py.

References
----------
NVIDIA/Megatron-LM: megatron/core/model_parallel_config.py, megatron/core/transformer/
transformer_config.py, megatron/training/arguments.py (flags are the fields with dashes).
"""

from __future__ import annotations

import shlex

from planner.export.exporter import Export, ExportedFile, Exporter, header, is_even, layers_of_ranks
from planner.export.torchrun import nodes_and_ranks, torchrun_command
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.scenario import Scenario

ARGUMENTS = "megatron.args"

_PRECISION: dict[Precision, tuple[str, ...]] = {
    Precision.FP32: (),
    Precision.BF16: ("--bf16",),
    Precision.FP16: ("--fp16",),
    Precision.FP8: ("--bf16", "--fp8-format", "hybrid"),
    Precision.MXFP8: ("--bf16", "--fp8-format", "e4m3", "--fp8-recipe", "mxfp8"),
    Precision.NVFP4: ("--bf16", "--fp4-format", "e2m1"),
}
_ACTIVATION = {"silu": "--swiglu", "relu2": "--squared-relu"}


def _emit(plan_file: PlanFile) -> Export:
    scenario, plan = plan_file.scenario, plan_file.plan
    _require_possible(scenario.model, plan)
    n_nodes, n_ranks = nodes_and_ranks(plan_file)
    words = arguments(plan_file)
    dropped = _dropped(plan)
    lines = [" ".join(map(shlex.quote, group)) for group in _grouped(words)]
    command = torchrun_command(n_nodes, n_ranks, ["pretrain_gpt.py"])
    script = (
        "#!/usr/bin/env bash\n"
        + header(plan_file, dropped)
        + "# Data is yours: replace --mock-data and --tokenizer-type NullTokenizer.\n"
        + "set -euo pipefail\n"
        + "export CUDA_DEVICE_MAX_CONNECTIONS=1  # megatron asks for it under tp or cp\n"
        + 'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'
        + f'mapfile -t words < <(grep -v "^#" "$here/{ARGUMENTS}" | xargs -n 1 printf "%s\\n")\n'
        + f'exec {command} "${{words[@]}}" "$@"\n'
    )
    return Export(
        target="megatron",
        files=(
            ExportedFile(ARGUMENTS, header(plan_file, dropped) + "\n".join(lines) + "\n"),
            ExportedFile("launch.sh", script, executable=True),
        ),
        dropped=dropped,
        start="./launch.sh",
    )


def _require_possible(model: ModelSpec, plan: PlanSpec) -> None:
    """Refuse what Megatron's own parser lets through, or what its flags cannot say."""
    moe = model.moe
    rules = (
        (model.position != "none", "a model without positions"),
        (not model.parallel_residual, "attention and feed-forward side by side"),
        (moe is None or moe.n_experts % plan.ep == 0, f"ep={plan.ep}"),
        (
            moe is None or plan.tp == 1 or plan.sequence_parallel,
            "experts under tp without sequence_parallel",
        ),
        (
            plan.cp * plan.dp % plan.ep == 0,
            f"ep={plan.ep}, which must divide dp x cp = {plan.dp * plan.cp}",
        ),
        (plan.virtual_stages == 1 or plan.pp > 1, "virtual stages without a pipeline"),
    )
    for allowed, what in rules:
        if not allowed:
            raise InputError(f"megatron cannot run {what}", where="--to")


def _dropped(plan: PlanSpec) -> tuple[str, ...]:
    unsaid = (
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: megatron counts steps"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
        (True, f"dp={plan.dp}: megatron derives it from the number of ranks"),
    )
    return tuple(what for applies, what in unsaid if applies)


def arguments(plan_file: PlanFile) -> list[str]:
    """Return all flags with their values, one word each."""
    scenario, plan = plan_file.scenario, plan_file.plan
    groups = (
        _parallel(scenario.model, plan),
        _model(scenario.model),
        _moe(scenario.model.moe, scenario.model.n_layers, plan) if scenario.model.moe else [],
        _mla(scenario.model.mla) if scenario.model.mla else [],
        _training(scenario, plan),
    )
    return [str(word) for group in groups for word in group]


def _parallel(model: ModelSpec, plan: PlanSpec) -> list[object]:
    words: list[object] = [
        "--tensor-model-parallel-size",
        plan.tp,
        "--pipeline-model-parallel-size",
        plan.pp,
        "--context-parallel-size",
        plan.cp,
    ]
    words += ["--sequence-parallel"] * plan.sequence_parallel
    if not is_even(plan, model.n_layers):
        words += ["--pipeline-model-parallel-layout", layout(plan, model.n_layers)]
    elif plan.virtual_stages > 1:
        words += ["--num-virtual-stages-per-pipeline-rank", plan.virtual_stages]
    if plan.zero_stage == 1:
        words.append("--use-distributed-optimizer")
        if plan.dp_replicate > 1:
            words += ["--num-distributed-optimizer-instances", plan.dp_replicate]
    if plan.recompute == "full":
        words += ["--recompute-granularity", "full"]
        words += ["--recompute-method", "uniform", "--recompute-num-layers", 1]
    elif plan.recompute == "selective":
        words += ["--recompute-granularity", "selective"]
    return words


def layout(plan: PlanSpec, n_layers: int) -> str:
    """Return uneven stages in Megatron's letters: E embedding, t layer, L loss, | next chunk."""
    chunks = ["t" * len(layers) for layers in layers_of_ranks(plan, n_layers)]
    return "|".join(["E" + chunks[0], *chunks[1:]]) + "L"


def _model(model: ModelSpec) -> list[object]:
    words: list[object] = [
        "--num-layers",
        model.n_layers,
        "--hidden-size",
        model.hidden_size,
        "--num-attention-heads",
        model.n_heads,
        "--kv-channels",
        model.head_dim,
        "--ffn-hidden-size",
        model.ffn_size or (model.moe.expert_ffn_size if model.moe else 0),
        "--max-position-embeddings",
        model.max_positions,
        "--normalization",
        {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm"}[model.norm],
        "--position-embedding-type",
        {"rope": "rope", "learned": "learned_absolute", "none": "none"}[model.position],
        "--attention-dropout",
        0,
        "--hidden-dropout",
        0,
    ]
    if model.n_kv_heads != model.n_heads:
        words += ["--group-query-attention", "--num-query-groups", model.n_kv_heads]
    if model.activation in _ACTIVATION and (model.gated_ffn or model.activation != "silu"):
        words.append(_ACTIVATION[model.activation])
    words += ["--disable-bias-linear"] * (not model.ffn_bias)
    words += ["--add-qkv-bias"] * model.qkv_bias
    words += ["--qk-layernorm"] * model.qk_norm
    words += ["--untie-embeddings-and-output-weights"] * (not model.tied_embeddings)
    return words


def _moe(moe: MoeSpec, n_layers: int, plan: PlanSpec) -> list[object]:
    words: list[object] = [
        "--num-experts",
        moe.n_experts,
        "--moe-router-topk",
        moe.top_k,
        "--moe-ffn-hidden-size",
        moe.expert_ffn_size,
        "--expert-model-parallel-size",
        plan.ep,
        "--expert-tensor-parallel-size",
        1,
        "--moe-token-dispatcher-type",
        "alltoall",
        "--moe-grouped-gemm",
    ]
    if moe.shared_ffn_size:
        words += ["--moe-shared-expert-intermediate-size", moe.shared_ffn_size]
    if moe.n_dense_layers or moe.layer_period > 1:
        mixed = n_layers - moe.n_dense_layers
        period = [int(at % moe.layer_period == moe.layer_period - 1) for at in range(mixed)]
        words += ["--moe-layer-freq", str([0] * moe.n_dense_layers + period).replace(" ", "")]
    return words


def _mla(mla: MlaSpec) -> list[object]:
    words: list[object] = ["--multi-latent-attention", "--kv-lora-rank", mla.kv_lora_rank]
    words += ["--q-lora-rank", mla.q_lora_rank] if mla.q_lora_rank else []
    words += ["--qk-head-dim", mla.qk_nope_head_dim]
    words += ["--qk-pos-emb-head-dim", mla.qk_rope_head_dim, "--v-head-dim", mla.v_head_dim]
    return words


def _training(scenario: Scenario, plan: PlanSpec) -> list[object]:
    return [
        "--micro-batch-size",
        plan.microbatch_sequences,
        "--global-batch-size",
        plan.batch_sequences,
        "--seq-length",
        scenario.job.sequence_length,
        "--train-iters",
        scenario.job.n_steps,
        "--lr",
        scenario.run.learning_rate,
        "--clip-grad",
        scenario.run.max_gradient_norm,
        "--weight-decay",
        scenario.run.weight_decay,
        "--tokenizer-type",
        "NullTokenizer",
        "--vocab-size",
        scenario.model.vocab_size,
        "--mock-data",
        "--transformer-impl",
        "transformer_engine",
        *_PRECISION[plan.precision],
    ]


def _grouped(words: list[str]) -> list[list[str]]:
    """Return each flag with its values."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return groups


def flags(text: str) -> dict[str, str]:
    """Return the flags of an argument file; one without a value maps to an empty text."""
    words = shlex.split(text, comments=True)
    return {name: " ".join(values) for name, *values in _grouped(words)}


def _read_back(export: Export, scenario: Scenario) -> PlanSpec:
    given = flags(export.text(ARGUMENTS))
    tp = int(given["--tensor-model-parallel-size"])
    pp = int(given["--pipeline-model-parallel-size"])
    cp = int(given["--context-parallel-size"])
    n_ranks = scenario.limits.devices or scenario.cluster.n_devices
    dp = n_ranks // (tp * pp * cp)
    microbatch = int(given["--micro-batch-size"])
    zero_stage = int("--use-distributed-optimizer" in given)
    replicate = int(given.get("--num-distributed-optimizer-instances", "1")) if zero_stage else dp
    chunks = given.get("--pipeline-model-parallel-layout", "")
    counts = tuple(chunk.count("t") for chunk in chunks.split("|")) if chunks else ()
    virtual = int(given.get("--num-virtual-stages-per-pipeline-rank", max(1, len(counts) // pp)))
    words_given = {word for name, value in given.items() for word in (name, *value.split())}
    precision = next(  # the more special ones stand last
        one for one, words in reversed(_PRECISION.items()) if words_given.issuperset(words)
    )
    plan = PlanSpec(
        pp=pp,
        dp_replicate=replicate,
        dp_shard=dp // replicate,
        cp=cp,
        tp=tp,
        ep=int(given.get("--expert-model-parallel-size", "1")),
        zero_stage=zero_stage,
        sequence_parallel="--sequence-parallel" in given,
        schedule="interleaved-1f1b" if virtual > 1 else "1f1b",
        virtual_stages=virtual,
        microbatch_sequences=microbatch,
        n_microbatches=int(given["--global-batch-size"]) // (dp * microbatch),
        recompute="full"
        if given.get("--recompute-granularity") == "full"
        else "selective"
        if "--recompute-granularity" in given
        else "none",
        precision=precision,
    )
    even = plan.chunk_layers(scenario.model.n_layers)
    return plan if counts in ((), even) else plan.model_copy(update={"layers_per_chunk": counts})


EXPORTER = Exporter(
    name="megatron",
    description="arguments of Megatron-LM's pretrain_gpt.py",
    emit=_emit,
    read_back=_read_back,
)
