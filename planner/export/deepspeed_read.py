"""A DeepSpeed configuration back to a plan.

DeepSpeed derives a missing batch key, and ignores top-level keys that it does not know; here a key
that is nearly one of a plan's is refused, and the others are said to be unread.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from planner.export.settings import Reading, Settings, n_ranks, share
from simulator.catalog.json_text import read_json
from simulator.spec.base import Precision
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

_BATCH, _MICRO = "train_batch_size", "train_micro_batch_size_per_gpu"
_STEPS = "gradient_accumulation_steps"
_HALVES = (Precision.BF16, Precision.FP16)
_SECTIONS = (
    *("zero_optimization", "pipeline", "tensor_parallel", "activation_checkpointing"),
    *(each.value for each in _HALVES),
)
_READ = (_BATCH, _MICRO, _STEPS, "sequence_parallel_size", *_SECTIONS)
_PATIENCE = 0.85


def read(text: str, where: str, scenario: Scenario) -> Reading:
    """Return the plan of a configuration; the number of ranks is the scenario's."""
    config = read_json(text, where)
    if not isinstance(config, dict):
        raise InputError("it is no JSON object", where=where)
    given = Settings(config, where)
    _require_known(given)
    sections = {name: _section(given, name) for name in _SECTIONS}
    zero = sections["zero_optimization"]
    stage = zero.whole("stage", default=0, least=0)
    pp = sections["pipeline"].whole("stages", default=1)
    tp = sections["tensor_parallel"].whole("autotp_size", default=1)
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
        recompute=_recompute(given, sections["pipeline"], pp),
        precision=_precision(sections),
    )
    within = (f"{name}.{key}" for name, section in sections.items() for key in section.unread)
    return Reading(plan, (*given.unread, *within))


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


def _recompute(given: Settings, pipeline: Settings, pp: int) -> str:
    """Return what is repeated: an interval is PipelineModule's, and 0 leaves it as it was."""
    name = "activation_checkpoint_interval"
    interval = pipeline.whole(name, default=0, least=0) if pp > 1 else 0
    if interval:
        return f"groups-of-{interval}"
    return "full" if given.get("activation_checkpointing") is not None else "none"


def _precision(sections: Mapping[str, Settings]) -> Precision:
    enabled = (each for each in _HALVES if sections[each.value].flag("enabled"))
    return next(enabled, Precision.FP32)
