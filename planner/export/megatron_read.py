"""Megatron-LM's flags back to a plan; those of our exports, and those of anybody's script."""

from __future__ import annotations

import re

from planner.export.exporter import with_layers
from planner.export.megatron_model import experts_tp
from planner.export.settings import Reading, Settings, n_ranks, script_flags, share
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.job import Attention
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import parse_recompute, simplest
from simulator.spec.scenario import Scenario

PRECISION: dict[Precision, tuple[str, ...]] = {
    Precision.FP32: (),
    Precision.BF16: ("--bf16",),
    Precision.FP16: ("--fp16",),
    Precision.FP8: ("--bf16", "--fp8-format", "hybrid"),
    Precision.MXFP8: ("--bf16", "--fp8-format", "e4m3", "--fp8-recipe", "mxfp8"),
    Precision.NVFP4: ("--bf16", "--fp4-format", "e2m1"),
}
"""The words of each precision; the more special ones stand last."""
_LAYOUT = "--pipeline-model-parallel-layout"
_EXPERT_TP = "--expert-tensor-parallel-size"
_GRANULARITIES = {name: name for name in ("none", "selective", "full")}
_SHARDING = {"no_shard": "0", "optim": "1", "optim_grads": "2", "optim_grads_params": "3"}


def read(text: str, where: str, scenario: Scenario) -> Reading:
    """Return the plan of some flags; Megatron's defaults hold for those that are missing."""
    given = Settings(script_flags(text, where), where)
    _require_same_question(given, scenario)
    pp = given.whole("--pipeline-model-parallel-size", default=1)
    tp = given.whole("--tensor-model-parallel-size", default=1)
    cp = given.whole("--context-parallel-size", default=1)
    dp = share(n_ranks(scenario), tp * pp * cp, "ranks over tp x pp x cp", where)
    microbatch = given.whole("--micro-batch-size")
    zero_stage = _zero_stage(given)
    replicate = given.whole("--num-distributed-optimizer-instances", default=1)
    replicate = replicate if zero_stage else dp
    counts = _counts(given, pp, scenario.model.n_layers)
    virtual = _virtual(given, pp, counts, scenario.model.n_layers)
    batch = given.whole("--global-batch-size", default=dp * microbatch)
    plan = PlanSpec(
        pp=pp,
        dp_replicate=replicate,
        dp_shard=share(dp, replicate, "dp over optimizer instances", where),
        cp=cp,
        tp=tp,
        ep=given.whole("--expert-model-parallel-size", default=1),
        zero_stage=zero_stage,
        sequence_parallel=given.flag("--sequence-parallel"),
        schedule="interleaved-1f1b" if virtual > 1 else "1f1b",
        virtual_stages=virtual,
        microbatch_sequences=microbatch,
        n_microbatches=share(batch, dp * microbatch, "global batch over dp x micro batch", where),
        recompute=_recompute(given, scenario.job.attention),
        precision=_precision(given),
    )
    unread = _unread_experts(given, scenario, plan)
    return Reading(with_layers(plan, counts, scenario.model.n_layers), (*given.unread, *unread))


def _require_same_question(given: Settings, scenario: Scenario) -> None:
    """Refuse flags for another model or batch than the scenario's."""
    model, job = scenario.model, scenario.job
    asked = {
        "--num-layers": model.n_layers,
        "--hidden-size": model.hidden_size,
        "--num-attention-heads": model.n_heads,
        "--num-experts": model.moe.n_experts if model.moe else None,
        "--seq-length": job.sequence_length,
        "--global-batch-size": job.batch_sequences,
    }
    for name, ours in asked.items():
        if given.get(name) is None:
            continue
        theirs = given.whole(name)
        if theirs != ours:
            raise InputError(
                f"{name} {theirs}, and the scenario has {'none' if ours is None else ours}",
                where=given.where,
                fix="compare with a plan for the same model, sequences and batch",
            )


def _zero_stage(given: Settings) -> int:
    stage = int(given.flag("--use-distributed-optimizer"))
    if given.flag("--use-torch-fsdp2"):
        return 3
    if given.flag("--use-megatron-fsdp", "--use-custom-fsdp"):
        name = "--data-parallel-sharding-strategy"
        return int(given.one_of(_SHARDING, name, default="no_shard"))
    return stage


def _counts(given: Settings, pp: int, n_layers: int) -> tuple[int, ...]:
    """Return the layers of each chunk that the flags say, empty where they divide evenly."""
    layout = given.text(_LAYOUT, default="")
    if layout:
        return _chunks(layout, given.where)
    first = given.whole("--decoder-first-pipeline-num-layers", default=0)
    last = given.whole("--decoder-last-pipeline-num-layers", default=0)
    if not (first or last):
        return ()
    n_inner = pp - bool(first) - bool(last)
    left = n_layers - first - last
    inner = share(left, max(1, n_inner), "layers of the inner stages", given.where)
    return tuple(filter(None, (first, *[inner] * n_inner, last)))


def _chunks(layout: str, where: str) -> tuple[int, ...]:
    """Return the layers of each chunk of a layout, where `x*n` and `(...)*n` repeat."""
    for product in (r"\(([^()]+)\)\*(\d{1,3})(?!\d)", r"([^()*])\*(\d{1,3})(?!\d)"):
        layout = re.sub(product, lambda found: found[1] * int(found[2]), layout)
    layout = layout.replace(",", "")
    if not set(layout) <= set("EtmL|"):
        raise InputError(
            f"{_LAYOUT} is {layout:.40}; E, t, m, L, |, x*n and (...)*n are read", where=where
        )
    return tuple(chunk.count("t") for chunk in layout.split("|"))


def _virtual(given: Settings, pp: int, counts: tuple[int, ...], n_layers: int) -> int:
    per_stage = given.whole("--num-layers-per-virtual-pipeline-stage", default=0, least=0)
    if per_stage:
        return share(n_layers, pp * per_stage, "layers over stages", given.where)
    name = "--num-virtual-stages-per-pipeline-rank"
    return given.whole(name, default=max(1, len(counts) // pp))


def _precision(given: Settings) -> Precision:
    found = {
        word
        for name in ("--bf16", "--fp16", "--fp8-format", "--fp8-recipe", "--fp4-format")
        if (value := given.get(name)) is not None
        for word in (name, *str(value).split())
    }
    return next(one for one, words in reversed(PRECISION.items()) if found.issuperset(words))


def _unread_experts(given: Settings, scenario: Scenario, plan: PlanSpec) -> tuple[str, ...]:
    """Return what is not read of how tp divides experts; no plan decides it, the software does.

    Raises InputError where the flags say something else than the price takes.
    """
    if scenario.model.moe is None:
        return ()
    priced = experts_tp(scenario, plan)
    theirs = given.whole(_EXPERT_TP, default=plan.tp)
    if theirs == priced:
        return ()
    if given.get(_EXPERT_TP) is None:
        return (f"{_EXPERT_TP} (tp={theirs} unless told, priced as {priced})",)
    raise InputError(
        f"{_EXPERT_TP} {theirs}, and job.software={scenario.job.software} is priced with {priced}",
        where=given.where,
        fix="see `armillary list software` for one that divides experts, or compare "
        f"with {_EXPERT_TP} {priced}",
    )


def _recompute(given: Settings, attention: Attention) -> str:
    """Return what is repeated; of `selective` without modules it is the core of attention."""
    short = given.flag("--recompute-activations")  # for --recompute-granularity selective
    name = "--recompute-granularity"
    granularity = given.one_of(_GRANULARITIES, name, default="none")
    if short or granularity == "selective":
        modules = given.text("--recompute-modules", default="core_attn")
        named = parse_recompute("+".join(modules.replace("_", "-").split()))
        return simplest(named, attention).name
    if granularity == "none":
        return "none"
    whole = "first" if given.text("--recompute-method", default="uniform") == "block" else ""
    count = given.whole("--recompute-num-layers", default=1)
    return f"{whole or 'groups-of'}-{count}"
