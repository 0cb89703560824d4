"""Megatron-LM: the arguments of pretrain_gpt.py.

References
----------
NVIDIA/Megatron-LM: megatron/core/model_parallel_config.py, megatron/core/transformer/
transformer_config.py, megatron/training/arguments.py (flags are the fields with dashes).
"""

from __future__ import annotations

import shlex

from planner.export.exporter import (
    Export,
    ExportedFile,
    Exporter,
    applying,
    header,
    steps_between_checkpoints,
    with_layers,
)
from planner.export.launch import launch_files, require_file, start_command
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.recompute import Recompute
from simulator.spec.scenario import Scenario

ARGUMENTS = "megatron.args"
_NEEDS = (
    "a checkout of Megatron-LM, whose path is in MEGATRON_LM",
    f"your data and tokenizer: replace --mock-data and NullTokenizer in {ARGUMENTS}",
)

_PRECISION: dict[Precision, tuple[str, ...]] = {
    Precision.FP32: (),
    Precision.BF16: ("--bf16",),
    Precision.FP16: ("--fp16",),
    Precision.FP8: ("--bf16", "--fp8-format", "hybrid"),
    Precision.MXFP8: ("--bf16", "--fp8-format", "e4m3", "--fp8-recipe", "mxfp8"),
    Precision.NVFP4: ("--bf16", "--fp4-format", "e2m1"),
}
_ACTIVATION: dict[tuple[str, bool], tuple[str, ...]] = {
    ("silu", True): ("--swiglu",),
    ("gelu", False): (),
    ("relu2", False): ("--squared-relu",),
}
"""Activation, and whether a gate multiplies it."""


def _emit(plan_file: PlanFile) -> Export:
    _require_possible(plan_file.scenario)
    dropped = _dropped(plan_file.plan)
    lines = [" ".join(map(shlex.quote, group)) for group in _grouped(arguments(plan_file))]
    launch = launch_files(
        plan_file,
        '"$MEGATRON_LM/pretrain_gpt.py" "${words[@]}"',
        dropped=dropped,
        needs=_NEEDS,
        setup=(
            ': "${MEGATRON_LM:?path of a checkout of Megatron-LM}"',
            require_file("$MEGATRON_LM/pretrain_gpt.py", "MEGATRON_LM is no checkout"),
            "export CUDA_DEVICE_MAX_CONNECTIONS=1  # megatron asks for it under tp or cp",
            f'mapfile -t words < <(grep -v "^#" {ARGUMENTS} | xargs -n 1 printf "%s\\n")',
        ),
    )
    return Export(
        target="megatron",
        files=(
            ExportedFile(ARGUMENTS, header(plan_file, dropped) + "\n".join(lines) + "\n"),
            *launch,
        ),
        dropped=dropped,
        needs=_NEEDS,
        start=start_command(plan_file, "MEGATRON_LM=/path/to/Megatron-LM"),
    )


def _require_possible(scenario: Scenario) -> None:
    """Refuse models that Megatron's flags cannot describe."""
    model, moe = scenario.model, scenario.model.moe
    rules = (
        (
            (model.activation, model.gated_ffn) in _ACTIVATION,
            f"activation {model.activation} {'with' if model.gated_ffn else 'without'} a gate",
        ),
        (model.position != "none", "a model without positions"),
        (
            model.position == "rope" or scenario.job.sequence_length <= model.max_positions,
            f"sequence_length={scenario.job.sequence_length} with {model.max_positions} learned "
            "positions",
        ),
        (not model.parallel_residual, "attention and feed-forward side by side"),
        (model.attention_out_bias == model.ffn_bias, "biases in attention or feed-forward alone"),
        (model.qkv_bias or not model.ffn_bias, "feed-forward biases without those of q, k and v"),
        (not (model.embedding_norm or model.head_bias or model.lm_head_transform), "such a head"),
        (model.final_norm and model.lm_head, "a model without its final norm or head"),
        (moe is None or not moe.router_bias, "a router with biases"),
    )
    for allowed, what in rules:
        if not allowed:
            raise InputError(f"megatron cannot express {what} ({model.name})", where="--to")


def _dropped(plan: PlanSpec) -> tuple[str, ...]:
    return applying(
        (True, f"dp={plan.dp}: megatron derives it from the number of ranks"),
        (plan.checkpoint_interval_s > 0, "checkpoint_interval_s: rounded to whole steps"),
        (bool(plan.n_spare_nodes), "n_spare_nodes: a matter of the scheduler"),
    )


def arguments(plan_file: PlanFile) -> list[str]:
    """Return all flags with their values, one word each."""
    scenario, plan = plan_file.scenario, plan_file.plan
    groups = (
        _parallel(scenario, plan),
        _model(scenario),
        _moe(scenario.model.moe, scenario.model.n_layers, plan) if scenario.model.moe else [],
        _mla(scenario.model.mla) if scenario.model.mla else [],
        _training(scenario, plan),
        ["--save", "checkpoints", "--load", "checkpoints"],
        ["--save-interval", steps_between_checkpoints(plan_file)],
    )
    return [str(word) for group in groups for word in group]


def _parallel(scenario: Scenario, plan: PlanSpec) -> list[object]:
    words: list[object] = [
        "--tensor-model-parallel-size",
        plan.tp,
        "--pipeline-model-parallel-size",
        plan.pp,
        "--context-parallel-size",
        plan.cp,
    ]
    words += ["--sequence-parallel"] * plan.sequence_parallel
    model = scenario.model
    if len(set(plan.chunk_layers(model.n_layers))) > 1:
        words += ["--pipeline-model-parallel-layout", layout(plan, model)]
    elif plan.virtual_stages > 1:
        words += ["--num-virtual-stages-per-pipeline-rank", plan.virtual_stages]
    words.append("--overlap-grad-reduce")
    words += ["--grad-reduce-in-bf16"] * (scenario.job.gradient_dtype == "bf16")
    if plan.zero_stage == 1:
        words += ["--use-distributed-optimizer", "--overlap-param-gather"]
        if plan.dp_replicate > 1:
            words += ["--num-distributed-optimizer-instances", plan.dp_replicate]
    return words + _recompute(plan.recompute_kind)


def _recompute(kind: Recompute) -> list[object]:
    """Whole layers by method, parts as modules; `selective` is Megatron's own choice of them."""
    if kind.whole is not None:
        method = "block" if kind.whole == "first" else "uniform"
        method_words = ["--recompute-method", method, "--recompute-num-layers", kind.count]
        return ["--recompute-granularity", "full", *method_words]
    if not kind.parts:
        return []
    words: list[object] = ["--recompute-granularity", "selective"]
    if kind.parts != ("selective",):
        words += ["--recompute-modules", *(part.replace("-", "_") for part in kind.parts)]
    return words


def _recompute_given(given: dict[str, str]) -> str:
    """Return the recompute of some flags."""
    granularity = given.get("--recompute-granularity", "none")
    if granularity != "full":
        return "+".join(given.get("--recompute-modules", granularity).split())
    whole = "first" if given["--recompute-method"] == "block" else "groups-of"
    return f"{whole}-{given['--recompute-num-layers']}"


def layout(plan: PlanSpec, model: ModelSpec) -> str:
    """Return uneven stages in Megatron's letters, chunks separated by |.

    E is the embedding, t a layer, m a multi-token-prediction layer, L the loss.
    """
    chunks = ["t" * count for count in plan.chunk_layers(model.n_layers)]
    chunks[0] = "E" + chunks[0]
    chunks[-1] += "m" * model.n_mtp_layers + "L"
    return "|".join(chunks)


def _model(scenario: Scenario) -> list[object]:
    model = scenario.model
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
        max(model.max_positions, scenario.job.sequence_length),
        "--normalization",
        {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm"}[model.norm],
        "--position-embedding-type",
        {"rope": "rope", "learned": "learned_absolute"}[model.position],
        "--attention-dropout",
        0,
        "--hidden-dropout",
        0,
    ]
    if model.n_kv_heads != model.n_heads and model.mla is None:
        words += ["--group-query-attention", "--num-query-groups", model.n_kv_heads]
    if model.sliding_window:
        words += ["--window-size", f"{model.sliding_window - 1},0"]
    if model.n_mtp_layers:
        words += ["--mtp-num-layers", model.n_mtp_layers]
    words += _ACTIVATION[model.activation, model.gated_ffn]
    words += ["--attention-backend", "unfused"] * (scenario.job.attention == "unfused")
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
        words += ["--moe-shared-expert-gate"] * moe.shared_expert_gate
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
        "--optimizer",
        {"adamw": "adam", "sgd": "sgd"}[scenario.job.optimizer],
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
        recompute=_recompute_given(given),
        precision=precision,
    )
    return with_layers(plan, counts, scenario.model.n_layers)


EXPORTER = Exporter(
    name="megatron",
    description="arguments of Megatron-LM's pretrain_gpt.py",
    executor="megatron",
    emit=_emit,
    read_back=_read_back,
)
