"""From a row to what the simulator predicts: model, cluster, job, software and plan."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pydantic

from simulator.spec.base import Precision
from simulator.spec.cluster import ClusterSpec, DeviceSpec
from simulator.spec.errors import ArmillaryError
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import PARTS, RecomputeName
from simulator.validate.blanks import filled
from simulator.validate.clusters import cluster_of
from simulator.validate.corrections import corrected, corrections_of
from simulator.validate.models import model_of
from simulator.validate.rows import RunRow
from simulator.validate.software import has_unfused_attention, is_early, software_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row that can be predicted."""

    row: RunRow
    model: ModelSpec
    cluster: ClusterSpec
    job: JobSpec
    plan: PlanSpec
    assumed: tuple[str, ...]
    """Columns that the row leaves blank and a rule filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that cannot be predicted, and why."""

    row: RunRow
    reason: str


class _NotExpressible(Exception):
    """The row contradicts itself or leaves out what no rule can fill."""


def express(row: RunRow) -> Case | Skipped:
    """Return the case behind a row, or why there is none."""
    try:
        return _case(corrected(row))
    except _NotExpressible as reason:
        return Skipped(row=row, reason=str(reason))
    except ArmillaryError as error:
        return Skipped(row=row, reason=error.message)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        return Skipped(row=row, reason=f"{place}: {said}".removeprefix(": "))


def _case(row: RunRow) -> Case:
    assumed: list[str] = []
    row = filled(row, assumed)
    _require_known(row)
    cluster = cluster_of(row)
    job = _job(row, cluster.device)
    plan = _plan(row, job.precision, assumed)
    model = model_of(row)
    if plan.n_chunks > model.n_layers and not plan.layers_per_chunk:
        raise _NotExpressible(
            f"pp x vpp = {plan.n_chunks} chunks, and the model has {model.n_layers} layers"
        )
    if plan.ep > 1 and model.moe is None:
        raise _NotExpressible(f"ep={plan.ep}, and the model has no experts")
    if not row.recompute:
        assumed.append("recompute")
    assumed += corrections_of(row)
    return Case(
        row=row, model=model, cluster=cluster, job=job, plan=plan, assumed=tuple(sorted(assumed))
    )


def _require_known(row: RunRow) -> None:
    if row.problem:
        raise _NotExpressible(row.problem)
    if re.search(r"sft|tune|lora|adapter|infer|reward|ppo|dpo", row.task.lower()):
        raise _NotExpressible(f"task {row.task} is not pretraining")
    needed = ("n_layers", "hidden", "heads", "vocab", "seq_len", "global_batch_seqs", "n_devices")
    missing = [name for name in needed if not getattr(row, name)]
    if missing:
        raise _NotExpressible(f"{', '.join(missing)} not stated")
    product = (row.tp or 1) * (row.pp or 1) * (row.cp or 1) * (row.dp or _dp(row))
    if product != row.n_devices:
        raise _NotExpressible(f"tp x pp x dp x cp = {product}, and n_devices is {row.n_devices}")


def _dp(row: RunRow) -> int:
    return (row.n_devices or 1) // ((row.tp or 1) * (row.pp or 1) * (row.cp or 1))


_PRECISIONS = (
    (r"mx-?fp8|fp8-?mx", Precision.MXFP8),
    (r"fp8|float8", Precision.FP8),
    (r"fp4", Precision.NVFP4),
    (r"bf16|bfloat16", Precision.BF16),
    (r"fp16|float16|half|mixed|amp", Precision.FP16),
    (r"fp32|float32|tf32|single", Precision.FP32),
)
"""What a cell holds, and the number format it means; first match wins."""
_BLOCK_SCALED = re.compile(r'precision label "(mxfp8|fp8-mx)"|parenthesised variant|mxfp8_')
"""How notes say that fp8 has a scale per block: Megatron-Bridge prints such runs in parentheses."""


def _precision(row: RunRow, device: DeviceSpec) -> Precision:
    usual = Precision.BF16 if device.peak.bf16_flops_per_s else Precision.FP16
    if not row.precision:
        return usual
    for pattern, precision in _PRECISIONS:
        if re.search(pattern, row.precision.lower()):
            if precision is Precision.FP8 and _BLOCK_SCALED.search(row.notes.lower()):
                return Precision.MXFP8
            return usual if precision is Precision.BF16 else precision
    raise _NotExpressible(f"precision {row.precision} is not modelled")


def _job(row: RunRow, device: DeviceSpec) -> JobSpec:
    rule = software_rule(row)
    return JobSpec(
        sequence_length=row.seq_len or 1,
        global_batch_sequences=row.global_batch_seqs,
        precision=_precision(row, device),
        attention="unfused" if has_unfused_attention(row) else "fused",
        gradient_dtype=rule.gradient_dtype,
        software=rule.profile,
    )


def _plan(row: RunRow, precision: Precision, assumed: list[str]) -> PlanSpec:
    pp, dp = row.pp or 1, row.dp or _dp(row)
    virtual = _virtual_stages(row, assumed)
    sharded, zero = _sharding(row, dp)
    layers = _layers_per_chunk(row.n_layers or 1, pp * virtual)
    micro, n_micro = _microbatches(row, dp, assumed)
    return PlanSpec(
        pp=pp,
        dp_replicate=dp // sharded,
        dp_shard=sharded,
        cp=row.cp or 1,
        tp=row.tp or 1,
        ep=row.ep or 1,
        zero_stage=zero,
        sequence_parallel=_has_sequence_parallel(row),
        schedule="interleaved-1f1b" if virtual > 1 else "1f1b",
        virtual_stages=virtual,
        microbatch_sequences=micro,
        n_microbatches=n_micro,
        recompute=_recompute(row),
        precision=precision,
        layers_per_chunk=layers,
    )


_WHOLE_LAYERS = (
    (r"(?:block|first)\D*(\d+)", "first-{}"),
    (r"(?:uniform|groups?)\D*(\d+)", "groups-of-{}"),
    (r"every\D*(\d+)", "every-{}"),
)
"""What a cell holds with the number of layers, and how the kind is written; first match wins."""

_MODULES = {word: part for part in PARTS for word in (part, part.replace("-", "_"))}

_RECOMPUTES: tuple[tuple[str, RecomputeName], ...] = (
    (r"core|attn|attention", "core-attn"),
    (r"select|partial|per.?op|minimal", "selective"),
    (r"^(no|none|off|false|disabled|0)\b", "none"),
    (r"full|yes|true|on\b|block|uniform|every|all", "full"),
)
"""What a cell holds, and the kind it means; first match wins."""


def _recompute(row: RunRow) -> RecomputeName:
    if not row.recompute:
        return software_rule(row).blank_recompute or "none"
    cell = row.recompute.lower()
    for pattern, name in _WHOLE_LAYERS:
        found = re.search(pattern, cell)
        if found:
            return name.format(found[1])
    parts = {_MODULES[word] for word in re.findall(r"[a-z_-]+", cell) if word in _MODULES}
    if parts - {"selective", "core-attn"}:
        return "+".join(sorted(parts - {"selective"}))
    kind = next((kind for pattern, kind in _RECOMPUTES if re.search(pattern, cell)), "selective")
    return software_rule(row).selective if kind == "selective" else kind


def _has_sequence_parallel(row: RunRow) -> bool:
    if (row.tp or 1) == 1:
        return False
    if software_rule(row).profile == "maxtext":
        return True  # its tensor axis divides the activations between the matrices too
    if row.sequence_parallel is None:
        return not is_early(row)
    return row.sequence_parallel


def _virtual_stages(row: RunRow, assumed: list[str]) -> int:
    """The stated number; Megatron pipelines that do not say are interleaved two-fold."""
    if (row.pp or 1) == 1:
        return 1
    if row.vpp:
        return row.vpp
    assumed.append("vpp")
    divides = (row.n_layers or 1) % (2 * (row.pp or 1)) == 0
    interleaves = "megatron" in row.source.lower() and "deepspeed" not in row.source.lower()
    return 2 if divides and interleaves else 1


def _layers_per_chunk(n_layers: int, n_chunks: int) -> tuple[int, ...]:
    """Megatron's division where layers alone do not divide: embedding and head count as layers."""
    if n_chunks < 3 or n_layers % n_chunks == 0 or (n_layers + 2) % n_chunks:
        return ()
    each = (n_layers + 2) // n_chunks
    return (each - 1, *[each] * (n_chunks - 2), each - 1)


FULL_TOKENS = 4096
"""Tokens of a microbatch with which a device is busy; who needs no pipeline takes no fewer."""


def _microbatches(row: RunRow, dp: int, assumed: list[str]) -> tuple[int, int]:
    """Sequences of a microbatch and their number.

    Not stated: as many microbatches as stages under FSDP (torch's default), one sequence in other
    pipelines, and without one as many as make `FULL_TOKENS`.
    """
    batch = row.global_batch_seqs or 0
    local = -(-batch // dp)
    if batch % dp:
        assumed.append("global_batch_seqs")
    micro = row.micro_batch or None
    if software_rule(row).profile == "maxtext":
        micro = local  # its batch is per device, tp devices share it, and nothing is accumulated
    if micro is None:
        assumed.append("micro_batch")
        fsdp = "fsdp" in row.zero_stage_or_fsdp.lower()
        if (row.pp or 1) == 1:
            micro = max(1, FULL_TOKENS * (row.cp or 1) // (row.seq_len or 1))
        else:
            micro = max(1, local // (row.pp or 1)) if fsdp else 1
    largest = max(size for size in range(1, min(micro, local) + 1) if local % size == 0)
    if largest < micro:
        assumed.append("micro_batch")
    return largest, local // largest


def _sharding(row: RunRow, dp: int) -> tuple[int, int]:
    """Ranks that shard, and the ZeRO stage."""
    text = row.zero_stage_or_fsdp.lower()
    stage = _zero_stage(text)
    if stage == 0 or dp * (row.cp or 1) == 1:
        return 1, 0
    if stage == 3 and (row.pp or 1) > 1:
        stage = 2  # torch keeps gathered weights from forward to backward in a pipeline
    sharded = dp
    within = re.search(r"over (\d+) ranks|slice \((\d+)\)|fsdp (\d+)", text)
    per_node = row.devices_per_node or 8
    if within:
        sharded = int(next(group for group in within.groups() if group))
    elif re.search(r"hsdp|hybrid", text):
        sharded = max(1, per_node // ((row.tp or 1) * (row.cp or 1)))
    elif "within slice" in text:
        slices = re.search(r"(\d+) slice", row.interconnect)
        sharded = dp // int(slices[1]) if slices else dp
    sharded = min(sharded, dp)
    return (sharded, stage) if dp % sharded == 0 else (dp, stage)


def _zero_stage(text: str) -> int:
    stated = re.search(r"zero[- ]?(?:stage)?[- ]?([0-3])|^([0-3])(?:\.0)?$", text)
    stage = int(stated[1] or stated[2]) if stated else 0
    if re.search(r"fsdp|hsdp|fully.?sharded", text) and stage < 2:
        return 3
    if stage:
        return stage
    return 1 if re.search(r"distributed.?optimizer|sharded", text) else 0
