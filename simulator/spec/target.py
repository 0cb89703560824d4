"""What each executor of plans can run: the planner proposes nothing else when asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.spec.base import Precision
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.recompute import PARTS, RecomputeReach
from simulator.spec.reliability import Recovery
from simulator.spec.schedules import ScheduleName
from simulator.spec.target_rules import (
    ACCELERATE_RULES,
    DEEPSPEED_RULES,
    MEGATRON_RULES,
    OWN_MODEL_RULES,
    OWN_RULES,
    TORCHTITAN_RULES,
    ModelRule,
    TargetRule,
)


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


_TORCHTITAN_MODELS = (
    *("llama3-8b", "llama3.1-8b", "llama3-70b", "llama3.1-70b", "llama3.1-405b"),
    *("qwen3-0.6b", "qwen3-1.7b", "qwen3-14b", "qwen3-32b", "qwen3-30b-a3b", "deepseek-v3"),
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
            model_rules=OWN_MODEL_RULES,
            rules=OWN_RULES,
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
            rules=TORCHTITAN_RULES,
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
            rules=MEGATRON_RULES,
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
            rules=ACCELERATE_RULES,
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
            rules=DEEPSPEED_RULES,
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
