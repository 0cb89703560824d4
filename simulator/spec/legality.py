"""Whether a plan can exist for a model, a job and a cluster: one table of rules.

The same rules prune the search (over arrays) and explain a refusal (over one plan).
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule, with the factor that breaks it."""

    field: str
    message: str


def violations(
    model: ModelSpec, job: JobSpec, plan: PlanSpec, *, n_devices: int
) -> list[Violation]:
    """Return every rule that the plan breaks, most basic first."""
    moe = model.moe
    sequence_share = plan.cp * (plan.tp if plan.sequence_parallel else 1)
    rules: list[tuple[str, bool, str]] = [
        (
            "n_ranks",
            plan.n_ranks <= n_devices,
            f"pp {plan.pp} x dp {plan.dp} x cp {plan.cp} x tp {plan.tp} = {plan.n_ranks} ranks, "
            f"and the cluster has {n_devices} devices",
        ),
        (
            "tp",
            model.n_heads % plan.tp == 0,
            f"n_heads={model.n_heads} is not divisible by tp={plan.tp}",
        ),
        (
            "tp",
            model.n_kv_heads % plan.tp == 0 or plan.tp % model.n_kv_heads == 0,
            f"n_kv_heads={model.n_kv_heads} and tp={plan.tp}: neither divides the other",
        ),
        (
            "tp",
            model.ffn_size % plan.tp == 0,
            f"ffn_size={model.ffn_size} is not divisible by tp={plan.tp}",
        ),
        (
            "pp",
            plan.n_chunks <= model.n_layers,
            f"pp {plan.pp} x virtual_stages {plan.virtual_stages} = {plan.n_chunks} chunks, and "
            f"the model has {model.n_layers} layers",
        ),
        (
            "layers_per_chunk",
            sum(plan.chunk_layers(model.n_layers)) == model.n_layers
            and min(plan.chunk_layers(model.n_layers)) >= 0,
            f"layers_per_chunk adds up to {sum(plan.chunk_layers(model.n_layers))}, and the model "
            f"has {model.n_layers} layers",
        ),
        (
            "n_microbatches",
            plan.batch_sequences == job.batch_sequences,
            f"dp {plan.dp} x microbatch_sequences {plan.microbatch_sequences} x n_microbatches "
            f"{plan.n_microbatches} = {plan.batch_sequences} sequences, and the job's batch is "
            f"{job.batch_sequences}",
        ),
        (
            "n_microbatches",
            plan.schedule != "interleaved-1f1b"
            or plan.virtual_stages == 1
            or plan.n_microbatches % plan.pp == 0,
            f"interleaved-1f1b needs n_microbatches={plan.n_microbatches} divisible by "
            f"pp={plan.pp}",
        ),
        (
            "sequence_length",
            job.sequence_length % sequence_share == 0,
            f"sequence_length={job.sequence_length} is not divisible by cp x tp = {sequence_share}",
        ),
        (
            "ep",
            plan.ep == 1 or (moe is not None and moe.n_experts % plan.ep == 0),
            f"ep={plan.ep}: "
            + (
                "the model has no experts"
                if moe is None
                else f"n_experts={moe.n_experts} is not divisible by it"
            ),
        ),
        (
            "sequence_parallel",
            not plan.sequence_parallel or plan.tp > 1,
            "sequence_parallel needs tp > 1",
        ),
    ]
    return [Violation(field, message) for field, allowed, message in rules if not allowed]


def require_legal(
    model: ModelSpec, job: JobSpec, plan: PlanSpec, *, n_devices: int, where: str | None = None
) -> None:
    """Raise InputError naming the first factor that does not fit."""
    broken = violations(model, job, plan, n_devices=n_devices)
    if broken:
        raise InputError(f"plan.{broken[0].field}: {broken[0].message}", where=where)
