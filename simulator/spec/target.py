"""What each executor of plans can run: the planner proposes nothing else when asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.spec.base import Precision
from simulator.spec.errors import unknown_name
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec, RecomputeName, ScheduleName


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The reach of one executor, as data."""

    name: str
    description: str
    schedules: tuple[ScheduleName, ...]
    zero_stages: tuple[int, ...]
    zero_stages_with_pp: tuple[int, ...]
    precisions: tuple[Precision, ...] = (Precision.BF16, Precision.FP32)
    recomputes: tuple[RecomputeName, ...] = ("none", "selective", "full")
    sequence_parallel: bool = True
    max_cp: int = 1 << 30
    max_ep: int = 1 << 30
    dp_replicate_with_shard: bool = True
    uneven_stages: bool = True
    moe: bool = True
    mla: bool = True
    model_kinds: tuple[str, ...] = ("decoder",)

    def refusal(self, model: ModelSpec, job: JobSpec, plan: PlanSpec) -> str | None:
        """Return why this target cannot run the plan, or None when it can."""
        return (
            self.job_refusal(job)
            or self.model_refusal(model, plan.precision)
            or self.plan_refusal(model, plan)
        )

    def job_refusal(self, job: JobSpec) -> str | None:
        """Return why this target cannot do the job under any plan, or None when it can."""
        return self._first(
            (job.sync_every_steps == 1, f"sync_every_steps={job.sync_every_steps} (local SGD)")
        )

    def model_refusal(self, model: ModelSpec, precision: Precision) -> str | None:
        """Return why this target cannot train the model under any plan, or None when it can."""
        return self._first(
            (precision in self.precisions, f"precision {precision}"),
            (model.kind in self.model_kinds, f"models of kind {model.kind}"),
            (self.moe or model.moe is None, "mixture-of-experts models"),
            (self.mla or model.mla is None, "multi-head latent attention"),
        )

    def plan_refusal(self, model: ModelSpec, plan: PlanSpec) -> str | None:
        """Return which decision of the plan this target cannot carry out, or None."""
        zero_stages = self.zero_stages if plan.pp == 1 else self.zero_stages_with_pp
        return self._first(
            (plan.pp == 1 or plan.schedule in self.schedules, f"schedule {plan.schedule}"),
            (plan.zero_stage in zero_stages, f"zero_stage={plan.zero_stage} with pp={plan.pp}"),
            (plan.recompute in self.recomputes, f"recompute {plan.recompute}"),
            (self.sequence_parallel or not plan.sequence_parallel, "sequence_parallel"),
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
        )

    def _first(self, *rules: tuple[bool, str]) -> str | None:
        for allowed, what in rules:
            if not allowed:
                return f"{self.name} cannot run {what}"
        return None


OWN_TARGET = "armillary"
"""The target that `armillary run` is."""

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name=OWN_TARGET,
            description="this product's own runtime (torch.distributed)",
            schedules=("gpipe", "1f1b", "interleaved-1f1b"),
            zero_stages=(0, 1, 2, 3),
            zero_stages_with_pp=(0, 1),
            max_cp=1,
            max_ep=1,
            moe=False,
            mla=False,
        ),
        Target(
            name="torchtitan",
            description="torchtitan 0.3.0",
            schedules=("gpipe", "1f1b", "interleaved-1f1b"),
            zero_stages=(0, 2, 3),
            zero_stages_with_pp=(0, 2, 3),
        ),
        Target(
            name="megatron",
            description="Megatron-LM (megatron-core 0.16 and later)",
            schedules=("1f1b", "interleaved-1f1b"),
            zero_stages=(0, 1),
            zero_stages_with_pp=(0, 1),
            precisions=tuple(Precision),
        ),
        Target(
            name="deepspeed",
            description="DeepSpeed 0.19",
            schedules=("1f1b",),
            zero_stages=(0, 1, 2, 3),
            zero_stages_with_pp=(0, 1),
            precisions=(Precision.BF16, Precision.FP16, Precision.FP32),
            recomputes=("none", "full"),
            sequence_parallel=False,
            max_cp=1,
            max_ep=1,
            dp_replicate_with_shard=False,
        ),
    )
}
"""Executors by name. Adding one: an entry here and, for export, a module of planner.export."""


def find_target(name: str, *, where: str | None = None) -> Target:
    """Return the target of that name. Raises InputError with near names."""
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS, where=where)
    return TARGETS[name]
