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
    Notes,
    applying,
    by_reading,
    common_drops,
    header,
    matters,
    saves_behind_training,
    steps_between_checkpoints,
    unset,
)
from planner.export.launch import launch_files, require_file, start_command
from planner.export.megatron_model import model_words, require_possible
from planner.export.megatron_read import PRECISION, read
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.recompute import CORE_ATTENTION, SELECTIVE, Recompute
from simulator.spec.scenario import Scenario

ARGUMENTS = "megatron.args"
_NEEDS = (
    "a checkout of Megatron-LM, whose path is in MEGATRON_LM",
    f"your data and tokenizer: replace --mock-data and NullTokenizer in {ARGUMENTS}",
)
_NEEDS_BEHIND = (
    "for --async-save the package nvidia-resiliency-ext, or --async-strategy mcore, where your "
    "Megatron-LM has that flag (0.19 does)",
)

_LEARNING = {
    "learning_rate": ("--lr", "none: launch.sh asks for it"),
    "warmup_steps": ("--lr-warmup-iters", "0"),
    "learning_rate_decay": ("--lr-decay-style", "linear, from the first step to the last"),
    "final_learning_rate": ("--min-lr", "0"),
    "adam_beta1": ("--adam-beta1", "0.9"),
    "adam_beta2": ("--adam-beta2", "0.999"),
    "adam_epsilon": ("--adam-eps", "1e-8"),
    "weight_decay": ("--weight-decay", "0.01"),
    "max_gradient_norm": ("--clip-grad", "1.0"),
}
"""Flag of each hyper-parameter, and Megatron's own value without it."""


def _emit(plan_file: PlanFile) -> Export:
    require_possible(plan_file.scenario)
    notes = Notes(
        dropped=_dropped(plan_file),
        to_set=_to_set(plan_file.scenario),
        assumed=() if plan_file.scenario.job.dropout else ("no dropout",),
        needs=_NEEDS + _NEEDS_BEHIND * saves_behind_training(plan_file.scenario),
    )
    lines = [" ".join(map(shlex.quote, group)) for group in _grouped(arguments(plan_file))]
    launch = launch_files(
        plan_file,
        '"$MEGATRON_LM/pretrain_gpt.py" "${words[@]}"',
        notes=notes,
        setup=(
            ': "${MEGATRON_LM:?path of a checkout of Megatron-LM}"',
            require_file("$MEGATRON_LM/pretrain_gpt.py", "MEGATRON_LM is no checkout"),
            "export CUDA_DEVICE_MAX_CONNECTIONS=1  # megatron asks for it under tp or cp",
            f'mapfile -t words < <(grep -v "^#" {ARGUMENTS} | xargs -n 1 printf "%s\\n")',
            'case " ${words[*]} $* " in *" --lr "* | *" --lr="*) ;; '
            '*) echo "launch.sh: give a learning rate: --lr RATE" >&2; exit 1 ;; esac',
        ),
    )
    return Export(
        target="megatron",
        files=(
            ExportedFile(ARGUMENTS, header(plan_file, notes) + "\n".join(lines) + "\n"),
            *launch,
        ),
        notes=notes,
        start=_start(plan_file),
    )


def _start(plan_file: PlanFile) -> str:
    command = start_command(plan_file, "MEGATRON_LM=/path/to/Megatron-LM")
    return command if plan_file.scenario.run.learning_rate is not None else f"{command} --lr RATE"


def _dropped(plan_file: PlanFile) -> tuple[str, ...]:
    plan, scenario = plan_file.plan, plan_file.scenario
    moe = scenario.model.moe
    return applying(
        (True, f"dp={plan.dp}: megatron derives it from the number of ranks"),
        (
            moe is not None and moe.most_nodes > 0,
            f"most_nodes={moe.most_nodes if moe else 0}: experts are chosen by groups",
        ),
        (scenario.seed == 0, "seed=0: megatron takes positive ones, and 1234 unless told"),
    ) + common_drops(plan_file)


def _to_set(scenario: Scenario) -> tuple[str, ...]:
    otherwise = {name: f"{flag}, else {what}" for name, (flag, what) in _LEARNING.items()}
    moe = scenario.model.moe
    return unset(scenario, otherwise) + applying(
        (
            moe is not None and moe.load_balancing is None,
            "model.moe.load_balancing: --moe-router-load-balancing-type, else aux_loss of "
            "coefficient 0",
        ),
        (
            scenario.model.n_mtp_layers > 0,
            "the weight of the loss of further tokens: --mtp-loss-scaling-factor, else 0.1",
        ),
    )


def arguments(plan_file: PlanFile) -> list[str]:
    """Return all flags with their values, one word each."""
    scenario, plan = plan_file.scenario, plan_file.plan
    groups = (
        _parallel(scenario, plan),
        model_words(scenario, plan),
        _training(scenario, plan),
        ["--save", "checkpoints", "--load", "checkpoints"],
        ["--save-interval", steps_between_checkpoints(plan_file)],
        ["--ckpt-format", "torch_dist"],
        ["--async-save"] * saves_behind_training(scenario),
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
    """Whole layers by method, parts as modules; `selective` is that of unfused attention."""
    if kind.whole is not None:
        method = "block" if kind.whole == "first" else "uniform"
        method_words = ["--recompute-method", method, "--recompute-num-layers", kind.count]
        return ["--recompute-granularity", "full", *method_words]
    if not kind.parts:
        return []
    parts = CORE_ATTENTION.parts if kind == SELECTIVE else kind.parts
    modules = [part.replace("-", "_") for part in parts]
    return ["--recompute-granularity", "selective", "--recompute-modules", *modules]


def layout(plan: PlanSpec, model: ModelSpec) -> str:
    """Return uneven stages in Megatron's letters, chunks separated by |.

    E is the embedding, t a layer, m a multi-token-prediction layer, L the loss.
    """
    chunks = ["t" * count for count in plan.chunk_layers(model.n_layers)]
    chunks[0] = "E" + chunks[0]
    chunks[-1] += "m" * model.n_mtp_layers + "L"
    return "|".join(chunks)


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
        *_OPTIMIZER[scenario.job.optimizer],
        *_learning(scenario),
        *(["--seed", scenario.seed] if scenario.seed else []),
        "--tokenizer-type",
        "NullTokenizer",
        "--vocab-size",
        scenario.model.vocab_size,
        "--mock-data",
        "--transformer-impl",
        "transformer_engine",
        *PRECISION[plan.precision],
    ]


_OPTIMIZER: dict[str, tuple[object, ...]] = {
    "adamw": ("adam",),
    "sgd": ("sgd", "--sgd-momentum", 0),
}


def _learning(scenario: Scenario) -> list[object]:
    """Return the hyper-parameters that the scenario gives, and none that it does not."""
    words: list[object] = []
    for name, (flag, _) in _LEARNING.items():
        value = getattr(scenario.run, name)
        words += [flag, value] if value is not None and matters(name, scenario) else []
    return words


def _grouped(words: list[str]) -> list[list[str]]:
    """Return each flag with its values."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return groups


EXPORTER = Exporter(
    name="megatron",
    description="arguments of Megatron-LM's pretrain_gpt.py",
    executor="megatron",
    emit=_emit,
    read_back=by_reading(read, ARGUMENTS),
    read=read,
)
