"""A DeepSpeed configuration back to a plan.

DeepSpeed derives a missing batch key, and ignores top-level keys that it does not know; here a key
that is nearly one of a plan's is refused, and the others are said to be unread.
"""

from __future__ import annotations

import difflib

from planner.export.settings import Reading, Settings, n_ranks, share
from simulator.catalog.json_text import read_json
from simulator.spec.base import Precision
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

_BATCH, _MICRO = "train_batch_size", "train_micro_batch_size_per_gpu"
_STEPS = "gradient_accumulation_steps"
_READ = (
    *(_BATCH, _MICRO, _STEPS, "zero_optimization", "bf16", "fp16", "pipeline"),
    *("tensor_parallel", "sequence_parallel_size", "activation_checkpointing"),
)
_PATIENCE = 0.85


def read(text: str, where: str, scenario: Scenario) -> Reading:
    """Return the plan of a configuration; the number of ranks is the scenario's."""
    config = read_json(text, where)
    if not isinstance(config, dict):
        raise InputError("it is no JSON object", where=where)
    given = Settings(config, where)
    _require_known(given)
    zero = _section(given, "zero_optimization")
    stage = zero.whole("stage", default=0, least=0)
    pp = _section(given, "pipeline").whole("stages", default=1)
    tp = _section(given, "tensor_parallel").whole("autotp_size", default=1)
    cp = given.whole("sequence_parallel_size", default=1)
    dp = share(n_ranks(scenario), pp * tp * cp, "ranks over stages x autotp_size", where)
    batch, microbatch, steps = _batch(given, dp)
    if batch != microbatch * steps * dp:
        raise InputError(
            f"{_BATCH}={batch} is not {_MICRO} x {_STEPS} x dp = {microbatch} x {steps} x {dp}",
            where=where,
        )
    parts = zero.whole("zero_hpz_partition_size", default=1)
    if parts > 1:
        raise InputError(
            f"zero_hpz_partition_size={parts}: a plan has no second copy of the weights",
            where=where,
        )
    plan = PlanSpec(
        pp=pp,
        dp_replicate=1 if stage else dp,
        dp_shard=dp if stage else 1,
        cp=cp,
        tp=tp,
        zero_stage=stage,
        microbatch_sequences=microbatch,
        n_microbatches=steps,
        recompute="full" if "activation_checkpointing" in config else "none",
        precision=_precision(given),
    )
    given.get("activation_checkpointing")
    unread = (*given.unread, *(f"zero_optimization.{name}" for name in zero.unread))
    return Reading(plan, unread)


def _section(given: Settings, name: str) -> Settings:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{name} is no object", where=given.where)
    return Settings(value or {}, given.where)


def _require_known(given: Settings) -> None:
    """Refuse a key that is nearly one of those that matter: DeepSpeed would ignore it."""
    for name in given.values:
        if name in _READ:
            continue
        if difflib.get_close_matches(name, _READ, n=1, cutoff=_PATIENCE):
            raise unknown_name("key", name, _READ, where=given.where)


def _batch(given: Settings, dp: int) -> tuple[int, int, int]:
    """Return batch, microbatch and accumulation; of three keys one may be missing."""
    named = [name for name in (_BATCH, _MICRO, _STEPS) if given.get(name) is not None]
    if len(named) < 2 and _BATCH not in named and _MICRO not in named:
        raise InputError(f"neither {_BATCH} nor {_MICRO} is there", where=given.where)
    batch = given.whole(_BATCH) if _BATCH in named else None
    microbatch = given.whole(_MICRO) if _MICRO in named else None
    steps = given.whole(_STEPS) if _STEPS in named else None
    if microbatch is None:
        assert batch is not None
        steps = steps or 1
        microbatch = share(batch, dp * steps, f"{_BATCH} over dp x {_STEPS}", given.where)
    if steps is None:
        per_rank = share(batch, dp, f"{_BATCH} over dp", given.where) if batch else microbatch
        steps = share(per_rank, microbatch, f"{_BATCH} over dp x {_MICRO}", given.where)
    return batch or microbatch * steps * dp, microbatch, steps


def _precision(given: Settings) -> Precision:
    for name in (Precision.BF16, Precision.FP16):
        if _section(given, name.value).flag("enabled"):
            return name
    return Precision.FP32
