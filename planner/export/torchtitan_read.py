"""torchtitan's settings back to a plan: our recipes, its own modules, TOML files and flags."""

from __future__ import annotations

import math
from pathlib import PurePath

from planner.export.exporter import with_layers
from planner.export.settings import (
    Reading,
    Settings,
    n_ranks,
    python_settings,
    script_flags,
    share,
    toml_settings,
)
from planner.export.torchtitan_recipe import RECOMPUTES, SCHEDULES
from simulator.spec.base import Precision
from simulator.spec.errors import InputError
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName

_SECTIONS = {
    "ParallelismConfig": "parallelism",
    "PARALLELISM": "parallelism",
    "TrainingConfig": "training",
    "TRAINING": "training",
    "ActivationCheckpointConfig": "activation_checkpoint",
}
_NAMES = {theirs: str(ours) for ours, theirs in SCHEDULES.items()}


def read(text: str, where: str, scenario: Scenario) -> Reading:
    """Return the plan of a recipe module (.py), a TOML file, or flags in a script."""
    given = Settings(_settings(text, where), where)
    if not any(name.startswith(("parallelism.", "training.")) for name in given.values):
        raise InputError(
            "it sets nothing of torchtitan's parallelism or training",
            where=where,
            fix="give a .py with ParallelismConfig(...), a .toml or a script with --parallelism.*",
        )
    pp = _degree(given, "pipeline_parallel_degree")
    cp = _degree(given, "context_parallel_degree")
    tp = _degree(given, "tensor_parallel_degree")
    replicate = _degree(given, "data_parallel_replicate_degree")
    rest = share(n_ranks(scenario), pp * replicate * cp * tp, "ranks over the degrees", where)
    shard = given.whole("parallelism.data_parallel_shard_degree", default=-1, least=-1)
    shard = rest if shard == -1 else shard
    local = given.whole("training.local_batch_size", default=8)
    in_pipeline = given.whole("parallelism.pipeline_parallel_microbatch_size", default=1)
    microbatch = in_pipeline if pp > 1 else local
    dp = shard * replicate
    batch = given.whole("training.global_batch_size", default=-1, least=-1)
    batch = local * dp if batch == -1 else batch
    counts = _counts(given)
    plan = PlanSpec(
        pp=pp,
        dp_replicate=replicate,
        dp_shard=shard,
        cp=cp,
        tp=tp,
        ep=_degree(given, "expert_parallel_degree"),
        zero_stage=_zero_stage(given, shard * cp, pp),
        sequence_parallel=given.flag("parallelism.enable_sequence_parallel", default=tp > 1),
        schedule=_schedule(given),
        virtual_stages=_virtual(given, pp, counts, scenario.model.n_layers),
        microbatch_sequences=microbatch,
        n_microbatches=share(batch, dp * microbatch, "global batch over dp x microbatch", where),
        recompute=_recompute(given),
        precision=_precision(given),
    )
    return Reading(with_layers(plan, counts, scenario.model.n_layers), given.unread)


def _settings(text: str, where: str) -> dict[str, object]:
    suffix = PurePath(where).suffix
    if suffix == ".toml":
        return toml_settings(text, where)
    if suffix != ".py":
        flags = script_flags(text, where).items()
        return {name[2:].replace("-", "_"): value for name, value in flags}
    found = python_settings(text, where, _SECTIONS)
    for mode, name in RECOMPUTES.items():
        if f"activation_checkpoint = {name}" in text or f"activation_checkpoint={name}" in text:
            found["activation_checkpoint.mode"] = mode
    return found


def _degree(given: Settings, name: str) -> int:
    return given.whole(f"parallelism.{name}", default=1)


def _recompute(given: Settings) -> str:
    """Return what is repeated; up to 0.1 an option of `selective` may say every which layer."""
    modes = {name: name for name in ("none", *RECOMPUTES)}
    mode = given.one_of(modes, "activation_checkpoint.mode", default="none")
    name = "activation_checkpoint.selective_ac_option"
    if mode != "selective" or given.text(name, default="op") == "op":
        return mode
    return f"every-{given.whole(name)}"


def _zero_stage(given: Settings, n_parts: int, pp: int) -> int:
    """Return what fully_shard does: `default` gathers once a step where there is a pipeline."""
    policies = {"always": "3", "never": "2", "default": "2" if pp > 1 else "3"}
    name = "parallelism.fsdp_reshard_after_forward"
    stage = int(given.one_of(policies, name, default="default"))
    return stage if n_parts > 1 else 0


def _schedule(given: Settings) -> ScheduleName:
    name = given.one_of(_NAMES, "parallelism.pipeline_parallel_schedule", default="1F1B")
    return next(ours for ours in SCHEDULES if ours == name)


def _counts(given: Settings) -> tuple[int, ...]:
    parts = given.get("parallelism.module_fqns_per_model_part")
    if not isinstance(parts, list):
        return ()
    return tuple(sum(str(name).startswith("layers.") for name in part) for part in parts)


def _virtual(given: Settings, pp: int, counts: tuple[int, ...], n_layers: int) -> int:
    """Return the stages of a rank; without layers per stage those that the schedule needs."""
    per_stage = given.whole("parallelism.pipeline_parallel_layers_per_stage", default=0, least=0)
    if counts:
        return max(1, len(counts) // pp)
    if per_stage and pp > 1:
        return share(math.ceil(n_layers / per_stage), pp, "stages over pp", given.where)
    most = SCHEDULE_TRAITS[_schedule(given)].most_chunks
    return 1 if pp == 1 or most == 1 else 2


def _precision(given: Settings) -> Precision:
    kept = given.text("training.dtype", default="float32")
    param = given.text("training.mixed_precision_param", default="bfloat16")
    given.get("training.mixed_precision_reduce")
    known = {"float32": Precision.FP32, "bfloat16": Precision.BF16}
    name = kept if kept != "float32" else param
    if name not in known:
        raise InputError(f"dtype {name:.40} is none of {', '.join(known)}", where=given.where)
    return known[name]
