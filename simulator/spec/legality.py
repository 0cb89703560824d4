"""Whether a plan can exist for a model, a job and a cluster: one table of rules.

The same rules prune the search (over columns of plans) and explain a refusal (over one plan):
`allowed` is written with operators that mean the same for whole numbers and for arrays of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from simulator.spec.errors import InputError
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import (
    PART_RULES,
    WHOLE_LAYERS,
    count_of,
    has_part,
    parse_recompute,
    repeats,
    whole_of,
)
from simulator.spec.schedules import SCHEDULE_TRAITS, ScheduleName, ScheduleTraits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Whole = int | npt.NDArray[np.int64]
    Truth = bool | npt.NDArray[np.bool_]


class Decisions(Protocol):
    """What the rules look at: one plan (`PlanSpec`) or columns of plans (`PlanTable`)."""

    @property
    def pp(self) -> Whole: ...
    @property
    def dp(self) -> Whole: ...
    @property
    def dp_replicate(self) -> Whole: ...
    @property
    def dp_shard(self) -> Whole: ...
    @property
    def zero_stage(self) -> Whole: ...
    @property
    def cp(self) -> Whole: ...
    @property
    def tp(self) -> Whole: ...
    @property
    def ep(self) -> Whole: ...
    @property
    def sequence_parallel(self) -> Whole: ...
    @property
    def schedule(self) -> ScheduleName | npt.NDArray[np.int64]: ...
    @property
    def virtual_stages(self) -> Whole: ...
    @property
    def microbatch_sequences(self) -> Whole: ...
    @property
    def n_microbatches(self) -> Whole: ...
    @property
    def recompute(self) -> str | npt.NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One condition that every plan of a model and a job meets."""

    field: str
    """The decision to change when the rule is broken."""
    allowed: Callable[[ModelSpec, JobSpec, Decisions], Truth]
    message: Callable[[ModelSpec, JobSpec, PlanSpec], str]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule, with the factor that breaks it."""

    field: str
    message: str


def _sequence_share(model: ModelSpec, plan: Decisions) -> Whole:
    """Pieces into which a sequence must fall.

    Causal context parallelism gives every rank one early and one late piece, so that all have the
    same work (Megatron-LM and torchtitan demand 2 x cp); sequence parallelism divides by tp again.
    """
    pieces = 2 if model.causal else 1
    cp_pieces = 1 + (plan.cp > 1) * (pieces * plan.cp - 1)
    return cp_pieces * (1 + plan.sequence_parallel * (plan.tp - 1))


def _heads(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return model.n_heads % plan.tp == 0


def _kv_heads(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return (model.n_kv_heads % plan.tp == 0) | (plan.tp % model.n_kv_heads == 0)


def _ffn(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return model.ffn_size % plan.tp == 0


def _chunks(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return plan.pp * plan.virtual_stages <= model.n_layers


def _batch(_model: ModelSpec, job: JobSpec, plan: Decisions) -> Truth:
    return plan.dp * plan.microbatch_sequences * plan.n_microbatches == job.batch_sequences


def _batch_message(_model: ModelSpec, job: JobSpec, plan: PlanSpec) -> str:
    return (
        f"dp {plan.dp} x microbatch_sequences {plan.microbatch_sequences} x n_microbatches "
        f"{plan.n_microbatches} = {plan.batch_sequences} sequences, and the job's batch is "
        f"{job.batch_sequences}"
    )


def trait(plan: Decisions, pick: Callable[[ScheduleTraits], int]) -> Whole:
    """Return a trait of the schedule of one plan, or of each of many."""
    if isinstance(plan.schedule, str):
        return pick(SCHEDULE_TRAITS[plan.schedule])
    return schedule_column(plan.schedule, pick)


def schedule_column(
    schedules: npt.NDArray[np.int64], pick: Callable[[ScheduleTraits], int]
) -> npt.NDArray[np.int64]:
    """Return a trait of the schedules in a column of a `PlanTable`."""
    import numpy as np

    return np.array([pick(traits) for traits in SCHEDULE_TRAITS.values()])[schedules]


def _rounds(_model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    free = (plan.virtual_stages == 1) | (trait(plan, lambda traits: traits.whole_rounds) == 0)
    return free | (plan.n_microbatches % plan.pp == 0)


def _enough_microbatches(_model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return plan.n_microbatches >= plan.pp * trait(plan, lambda traits: traits.rounds_at_least)


def _enough_message(_model: ModelSpec, _job: JobSpec, plan: PlanSpec) -> str:
    rounds = SCHEDULE_TRAITS[plan.schedule].rounds_at_least
    return (
        f"{plan.schedule} needs at least {rounds} x pp = {rounds * plan.pp} microbatches, and "
        f"n_microbatches={plan.n_microbatches}"
    )


def _sequence(model: ModelSpec, job: JobSpec, plan: Decisions) -> Truth:
    return job.sequence_length % _sequence_share(model, plan) == 0


def _sequence_message(model: ModelSpec, job: JobSpec, plan: PlanSpec) -> str:
    reasons = [f"cp={plan.cp}" + (" with two pieces per rank" if model.causal else "")]
    if plan.sequence_parallel:
        reasons.append(f"sequence_parallel over tp={plan.tp}")
    return (
        f"sequence_length={job.sequence_length} is not divisible by "
        f"{_sequence_share(model, plan)} ({', '.join(reasons)})"
    )


def _experts(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return (plan.ep == 1) | ((model.moe.n_experts if model.moe else 1) % plan.ep == 0)


def _experts_message(model: ModelSpec, _job: JobSpec, plan: PlanSpec) -> str:
    if model.moe is None:
        return f"ep={plan.ep}, and the model has no experts"
    return f"n_experts={model.moe.n_experts} is not divisible by ep={plan.ep}"


def _recomputed_parts(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    code = _recompute_code(plan)
    lacking = [repeats(code, part) for part in PART_RULES if not has_part(model, part)]
    return sum(lacking, start=0 * code) == 0


def _recompute_code(plan: Decisions) -> Whole:
    if isinstance(plan.recompute, str):
        return parse_recompute(plan.recompute).code
    return plan.recompute


def _recomputed_parts_message(model: ModelSpec, _job: JobSpec, plan: PlanSpec) -> str:
    lacking = {
        rule.what
        for part, rule in PART_RULES.items()
        if part in plan.recompute_kind.parts and not has_part(model, part)
    }
    return f"recompute={plan.recompute}, and the model has no {' and no '.join(sorted(lacking))}"


def _recomputed_layers(model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    code = _recompute_code(plan)
    over_all = whole_of(code) == 1 + WHOLE_LAYERS.index("every")
    of_stage = 1 + (model.n_layers - 1) // plan.pp
    return count_of(code) <= over_all * model.n_layers + (1 - over_all) * of_stage


def _recomputed_layers_message(model: ModelSpec, _job: JobSpec, plan: PlanSpec) -> str:
    if plan.recompute_kind.whole == "every":
        return f"recompute={plan.recompute}, and the model has {model.n_layers} layers"
    return (
        f"recompute={plan.recompute}, and a stage has "
        f"{1 + (model.n_layers - 1) // plan.pp} of the model's {model.n_layers} layers"
    )


def _sequence_parallel(_model: ModelSpec, _job: JobSpec, plan: Decisions) -> Truth:
    return (plan.sequence_parallel == 0) | (plan.tp > 1)


RULES: tuple[Rule, ...] = (
    Rule("tp", _heads, lambda m, _, p: f"n_heads={m.n_heads} is not divisible by tp={p.tp}"),
    Rule(
        "tp",
        _kv_heads,
        lambda m, _, p: f"n_kv_heads={m.n_kv_heads} and tp={p.tp}: neither divides the other",
    ),
    Rule("tp", _ffn, lambda m, _, p: f"ffn_size={m.ffn_size} is not divisible by tp={p.tp}"),
    Rule(
        "pp",
        _chunks,
        lambda m, _, p: (
            f"pp {p.pp} x virtual_stages {p.virtual_stages} = {p.n_chunks} chunks, and the model "
            f"has {m.n_layers} layers"
        ),
    ),
    Rule("n_microbatches", _batch, _batch_message),
    Rule(
        "n_microbatches",
        _rounds,
        lambda _m, _j, p: (
            f"{p.schedule} needs n_microbatches={p.n_microbatches} divisible by pp={p.pp}"
        ),
    ),
    Rule("n_microbatches", _enough_microbatches, _enough_message),
    Rule("sequence_length", _sequence, _sequence_message),
    Rule("ep", _experts, _experts_message),
    Rule("sequence_parallel", _sequence_parallel, lambda *_: "sequence_parallel needs tp > 1"),
    Rule("recompute", _recomputed_parts, _recomputed_parts_message),
    Rule("recompute", _recomputed_layers, _recomputed_layers_message),
)
"""Most basic first. What a plan must meet by itself, without a model, `PlanSpec` checks."""


def violations(
    model: ModelSpec, job: JobSpec, plan: PlanSpec, *, n_devices: int
) -> list[Violation]:
    """Return every rule that the plan breaks, most basic first."""
    broken = []
    if plan.n_ranks > n_devices:
        broken.append(
            Violation(
                "n_ranks",
                f"pp {plan.pp} x dp {plan.dp} x cp {plan.cp} x tp {plan.tp} = {plan.n_ranks} "
                f"ranks, and the cluster has {n_devices} devices",
            )
        )
    broken += [
        Violation(rule.field, rule.message(model, job, plan))
        for rule in RULES
        if not rule.allowed(model, job, plan)
    ]
    layers = plan.chunk_layers(model.n_layers)
    if min(layers) < 0 or sum(layers) != model.n_layers:
        broken.append(
            Violation(
                "layers_per_chunk",
                f"layers_per_chunk {list(layers)} adds up to {sum(layers)}, and the model has "
                f"{model.n_layers} layers",
            )
        )
    return broken


def require_legal(
    model: ModelSpec, job: JobSpec, plan: PlanSpec, *, n_devices: int, where: str | None = None
) -> None:
    """Raise InputError naming the first factor that does not fit."""
    broken = violations(model, job, plan, n_devices=n_devices)
    if broken:
        raise InputError(f"plan.{broken[0].field}: {broken[0].message}", where=where)
