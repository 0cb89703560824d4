"""What each executor of plans can run: the planner proposes nothing else when asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.spec.base import Precision
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.job import JobSpec
from simulator.spec.legality import Decisions, trait
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import PARTS, RecomputeReach
from simulator.spec.reliability import Recovery
from simulator.spec.schedules import ScheduleName

if TYPE_CHECKING:
    from simulator.spec.legality import Truth


@dataclass(frozen=True, slots=True)
class ModelRule:
    """A condition of one executor on models."""

    allowed: Callable[[ModelSpec], bool]
    what: str
    """What the executor cannot run where the condition does not hold."""


@dataclass(frozen=True, slots=True)
class TargetRule:
    """A condition of one executor that ties decisions together."""

    column: str
    """The last of its decisions in the order in which the search takes them: tp, pp, cp, ep, then
    the schedule, how data parallelism divides (zero_stage, dp_shard), then sequence_parallel."""
    allowed: Callable[[ModelSpec, Decisions], Truth]
    """Written with operators that mean the same for one plan and for columns of plans."""
    what: str
    """What the executor cannot run where the condition does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The reach of one executor, as data."""

    name: str
    description: str
    schedules: tuple[ScheduleName, ...]
    """What a search for this target may propose."""
    schedules_on_request: tuple[ScheduleName, ...] = ()
    """What it runs too, when a plan or a limit names it."""
    zero_stages: tuple[int, ...]
    zero_stages_with_pp: tuple[int, ...]
    precisions: tuple[Precision, ...] = (Precision.BF16, Precision.FP32)
    recomputes: RecomputeReach = field(default_factory=RecomputeReach)
    dropout: bool = False
    sequence_parallel: bool = True
    max_cp: int = 1 << 30
    max_ep: int = 1 << 30
    dp_replicate_with_shard: bool = True
    uneven_stages: bool = True
    own_division: bool = True
    """Whether layers go to stages as the plan says; otherwise as evenly as they can."""
    model_kinds: tuple[str, ...] = ("decoder",)
    models: tuple[str, ...] = ()
    """The only models it has, by their catalog names; empty means any."""
    model_rules: tuple[ModelRule, ...] = ()
    rules: tuple[TargetRule, ...] = ()
    recoveries: tuple[Recovery, ...] = ("wait",)

    @property
    def all_schedules(self) -> tuple[ScheduleName, ...]:
        """What it runs."""
        return self.schedules + self.schedules_on_request

    def refusal(self, model: ModelSpec, job: JobSpec, plan: PlanSpec) -> str | None:
        """Return why this target cannot run the plan, or None when it can."""
        return (
            self.job_refusal(job)
            or self.model_refusal(model, plan.precision)
            or self.plan_refusal(model, job, plan)
        )

    def job_refusal(self, job: JobSpec) -> str | None:
        """Return why this target cannot do the job under any plan, or None when it can."""
        return self._first(
            (job.sync_every_steps == 1, f"sync_every_steps={job.sync_every_steps} (local SGD)"),
            (self.dropout or job.dropout == 0, f"dropout={job.dropout:g}"),
        )

    def model_refusal(self, model: ModelSpec, precision: Precision) -> str | None:
        """Return why this target cannot train the model under any plan, or None when it can."""
        return self._first(
            (precision in self.precisions, f"precision {precision}"),
            (model.kind in self.model_kinds, f"models of kind {model.kind}"),
            (
                not self.models or model.name in self.models,
                f"{model.name}; it has {', '.join(self.models)}",
            ),
            *((rule.allowed(model), rule.what) for rule in self.model_rules),
        )

    def plan_refusal(self, model: ModelSpec, job: JobSpec, plan: PlanSpec) -> str | None:
        """Return which decision of the plan this target cannot carry out, or None."""
        zero_stages = self.zero_stages if plan.pp == 1 else self.zero_stages_with_pp
        return self._first(
            (plan.pp == 1 or plan.schedule in self.all_schedules, f"schedule {plan.schedule}"),
            (plan.zero_stage in zero_stages, f"zero_stage={plan.zero_stage} with pp={plan.pp}"),
            (
                self.recomputes.runs(plan.recompute_kind, job.attention),
                f"recompute {plan.recompute}",
            ),
            (self.sequence_parallel or not plan.sequence_parallel, "sequence_parallel"),
            (plan.recovery in (None, *self.recoveries), f"recovery {plan.recovery}"),
            (plan.cp <= self.max_cp, f"cp={plan.cp}"),
            (plan.ep <= self.max_ep, f"ep={plan.ep}"),
            (
                self.dp_replicate_with_shard or plan.dp_replicate == 1 or plan.dp_shard == 1,
                "dp_replicate and dp_shard together",
            ),
            (
                self.uneven_stages or len(set(plan.chunk_layers(model.n_layers))) == 1,
                "stages with different numbers of layers",
            ),
            *((bool(rule.allowed(model, plan)), rule.what) for rule in self.rules),
        )

    def _first(self, *rules: tuple[bool, str]) -> str | None:
        for allowed, what in rules:
            if not allowed:
                return f"{self.name} cannot run {what}"
        return None


_WHOLE_KV_HEADS = TargetRule(
    "tp",
    lambda model, plan: model.n_kv_heads % plan.tp == 0,
    "tp that does not divide the key and value heads",
)


def _experts_in_one_copy(_: ModelSpec, plan: Decisions) -> Truth:
    """Whether every divided copy of the model has all experts."""
    in_copy = plan.dp_shard * plan.cp * plan.tp
    return (plan.zero_stage == 0) | (plan.dp_replicate == 1) | (in_copy % plan.ep == 0)


_EXPERTS_BY_TOKEN_SHARES = TargetRule(
    "sequence_parallel",
    lambda model, plan: (
        (model.moe is None) | (plan.tp == 1) | (plan.ep == 1) | (plan.sequence_parallel != 0)
    ),
    "experts spread over ranks of tp without sequence_parallel",
)
_EXPERTS_IN_ONE_COPY = TargetRule(
    "dp_shard",
    _experts_in_one_copy,
    "copies of a divided model and ep that does not divide dp_shard x cp x tp",
)
_OWN_MODEL_RULES = (
    ModelRule(
        lambda model: model.moe is None or not model.ffn_bias,
        "experts with biases",
    ),
    ModelRule(
        lambda model: model.moe is None or model.moe.most_nodes == 0,
        "experts on a limited number of nodes for every token",
    ),
    ModelRule(
        lambda model: model.moe is None or model.moe.expert_bias_rate == 0,
        "experts that are balanced by a bias",
    ),
    ModelRule(lambda model: model.lm_head, "models without a language-model head"),
    ModelRule(lambda model: not model.lm_head_transform, "a layer between model and head"),
    ModelRule(lambda model: model.n_token_types == 0, "token types"),
    ModelRule(lambda model: model.n_mtp_layers == 0, "multi-token prediction"),
    ModelRule(
        lambda model: (
            model.position != "rope" or int(model.head_dim * model.rope_fraction) % 2 == 0
        ),
        "rotary positions in heads of odd width",
    ),
    ModelRule(
        lambda model: model.rope_scaling is None or model.rope_scaling.kind != "yarn",
        "rotary positions stretched by YaRN",
    ),
)
_OWN_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule(
        "tp",
        lambda model, plan: (plan.tp == 1) | (model.mla is None),
        "tp > 1 with latent attention",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (plan.cp == 1) | (model.mla is None),
        "cp > 1 with latent attention",
    ),
    _EXPERTS_BY_TOKEN_SHARES,
    _EXPERTS_IN_ONE_COPY,
    TargetRule(
        "ep",
        lambda model, plan: (
            (plan.tp == 1)
            | (model.moe is None or model.moe.shared_ffn_size % plan.tp == 0)
            & ((plan.ep > 1) | (model.moe is None or model.moe.expert_ffn_size % plan.tp == 0))
        ),
        "tp that does not divide the inner width of experts",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (plan.cp == 1) | (model.sliding_window == 0),
        "cp > 1 with a sliding window",
    ),
    TargetRule(
        "schedule",
        lambda model, plan: (
            (not model.tied_embeddings)
            | (plan.pp == 1)
            | (trait(plan, lambda traits: traits.v_shaped) == 0)
        ),
        "tied embeddings with chunks in a V",
    ),
    TargetRule(
        "schedule",
        lambda _, plan: (plan.tp == 1) | (trait(plan, lambda traits: traits.splits_backward) == 0),
        "a backward pass split in two (torch's, which does not take DTensors) with tp > 1",
    ),
)
_TORCHTITAN_MODELS = (
    *("llama3-8b", "llama3.1-8b", "llama3-70b", "llama3.1-70b", "llama3.1-405b"),
    *("qwen3-0.6b", "qwen3-1.7b", "qwen3-14b", "qwen3-32b", "qwen3-30b-a3b", "deepseek-v3"),
)
_TORCHTITAN_RULES = (
    TargetRule(
        "schedule",
        lambda _, plan: (
            (plan.pp == 1)
            | (plan.virtual_stages > 1)
            | (trait(plan, lambda traits: traits.most_chunks) == 1)
        ),
        "schedules for several chunks per rank with one",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: plan.dp_shard * plan.cp * plan.tp % plan.ep == 0,
        "ep that does not divide dp_shard x cp x tp",
    ),
    TargetRule(
        "zero_stage",
        lambda _, plan: (plan.cp == 1) | (plan.zero_stage > 0),
        "cp > 1 with zero_stage=0, because it always divides weights over cp",
    ),
    TargetRule(
        "cp",
        lambda model, plan: (model.n_mtp_layers == 0) | (plan.pp * plan.cp == 1),
        "multi-token prediction with pp > 1 or cp > 1",
    ),
    TargetRule(
        "pp",
        lambda model, plan: (not model.tied_embeddings) | (plan.pp == 1),
        "tied embeddings with pp > 1",
    ),
    _WHOLE_KV_HEADS,
)
_MEGATRON_RULES = (
    TargetRule(
        "sequence_parallel",
        lambda model, plan: (model.moe is None) | (plan.tp == 1) | (plan.sequence_parallel != 0),
        "experts under tp without sequence_parallel",
    ),
    TargetRule(
        "dp_shard",
        _experts_in_one_copy,
        "several optimizer instances and ep that does not divide dp_shard x cp x tp",
    ),
)
_DEEPSPEED_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule(
        "pp",
        lambda _, plan: (plan.tp == 1) | (plan.pp == 1),
        "tp (AutoTP) together with pp (PipelineModule)",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: (plan.zero_stage == 0) | (plan.dp_replicate == 1),
        "dp_replicate > 1 under a ZeRO stage, which divides over all data-parallel ranks",
    ),
)
_ACCELERATE_RULES = (
    _WHOLE_KV_HEADS,
    TargetRule("pp", lambda _, plan: plan.pp == 1, "pp > 1"),
    TargetRule(
        "zero_stage",
        lambda _, plan: (plan.cp == 1) | (plan.zero_stage > 0),
        "cp > 1 with zero_stage=0, because it divides weights over cp",
    ),
    TargetRule(
        "dp_shard",
        lambda _, plan: (plan.tp * plan.cp == 1) | (plan.dp_replicate == 1) | (plan.dp_shard > 1),
        "tp or cp together with copies that are not divided",
    ),
)

OWN_TARGET = "armillary"
"""The target that `armillary run` is."""

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name=OWN_TARGET,
            description="armillary run (torch.distributed)",
            schedules=("gpipe", "1f1b", "interleaved-1f1b"),
            schedules_on_request=("looped-bfs", "zero-bubble", "zb-h2", "zb-v", "dualpipe-v"),
            zero_stages=(0, 1, 2, 3),
            zero_stages_with_pp=(0, 1),
            recomputes=RecomputeReach(
                proposed=("none", "selective", "every-2", "full"),
                parts=frozenset({"selective", "mlp"}),
                whole=frozenset({"every", "first"}),
                mixed=True,
            ),
            model_rules=_OWN_MODEL_RULES,
            rules=_OWN_RULES,
            recoveries=("wait", "shrink", "replan"),
        ),
        Target(
            name="torchtitan",
            description="torchtitan 0.3.0",
            schedules=("gpipe", "1f1b", "interleaved-1f1b"),
            schedules_on_request=("looped-bfs", "zero-bubble", "zb-v", "dualpipe-v"),
            zero_stages=(0, 2, 3),
            zero_stages_with_pp=(0, 2, 3),
            models=_TORCHTITAN_MODELS,
            rules=_TORCHTITAN_RULES,
            recoveries=("wait", "isolate"),  # with torchft
        ),
        Target(
            name="megatron",
            description="megatron-core 0.16 and later",
            schedules=("1f1b", "interleaved-1f1b"),
            zero_stages=(0, 1),
            zero_stages_with_pp=(0, 1),
            precisions=tuple(each for each in Precision if each is not Precision.INT8),
            dropout=True,
            recomputes=RecomputeReach(
                proposed=(
                    *("none", "core-attn", "layernorm", "layernorm+moe-act"),
                    *("layernorm+moe-act+mla-up-proj", "first-4", "full"),
                ),
                parts=frozenset(PARTS) - {"selective"},
                whole=frozenset({"first", "groups-of"}),
            ),
            rules=_MEGATRON_RULES,
        ),
        Target(
            name="accelerate",
            description="accelerate 1.15, FSDP2",
            schedules=("1f1b",),
            zero_stages=(0, 2, 3),
            zero_stages_with_pp=(0, 2, 3),
            recomputes=RecomputeReach(proposed=("none", "full")),
            sequence_parallel=False,
            max_ep=1,
            rules=_ACCELERATE_RULES,
        ),
        Target(
            name="deepspeed",
            description="DeepSpeed 0.19",
            schedules=("1f1b",),
            zero_stages=(0, 1, 2, 3),
            zero_stages_with_pp=(0, 1),
            precisions=(Precision.BF16, Precision.FP16, Precision.FP32),
            recomputes=RecomputeReach(proposed=("none", "full"), whole=frozenset({"groups-of"})),
            sequence_parallel=False,
            max_cp=1,
            max_ep=1,
            dp_replicate_with_shard=False,
            own_division=False,
            rules=_DEEPSPEED_RULES,
        ),
    )
}
"""Executors by name. Adding one: an entry here and, for export, a module of planner.export."""


LAUNCHERS = (
    "torchrun",
    "slurm",
    "kubernetes",
    "kubernetes-jobset",
    "kubernetes-pytorchjob",
)
"""What starts our own target: exports, and no executors of their own."""


def find_target(name: str, *, where: str | None = None) -> Target:
    """Return the target of that name. Raises InputError with near names."""
    if name in LAUNCHERS:
        raise InputError(
            f"unknown target {name!r}",
            where=where,
            fix=f"{name} runs target {OWN_TARGET}: plan for that, and export --to {name}",
        )
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS, where=where)
    return TARGETS[name]
