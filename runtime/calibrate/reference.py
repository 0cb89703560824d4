"""Small reference steps under every mechanism of the runtime: what kernels alone do not tell.

The shapes are fixed and belong to no job. From their times `runtime.calibrate.solve` finds what the
software adds to multiplications, attention and messages: dispatch, hooks, copies, waiting.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from runtime.calibrate.findings import ReferencePoint
from runtime.calibrate.timing import Together
from runtime.execute import forward_backward_of
from runtime.mesh import Mesh
from runtime.optimizer import make_optimizer
from runtime.stage import Stage, build_stages, named_parameters
from simulator.catalog.cluster import parse_cluster
from simulator.spec.base import Precision
from simulator.spec.job import JobSpec
from simulator.spec.learning import Learning
from simulator.spec.model import ModelSpec
from simulator.spec.plan import AXES, PlanSpec
from simulator.spec.scenario import Scenario

SEQUENCE_LENGTH = 128
N_WARMUP = 1
MIN_ROUNDS = 3


def reference_model(name: str, hidden_size: int, vocab_size: int, n_layers: int) -> ModelSpec:
    """Return a Llama-style model of few layers."""
    return ModelSpec(
        name=name,
        n_layers=n_layers,
        hidden_size=hidden_size,
        n_heads=8,
        n_kv_heads=4,
        head_dim=hidden_size // 8,
        ffn_size=3 * hidden_size,
        vocab_size=vocab_size,
    )


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference step."""

    model: ModelSpec
    plan: PlanSpec

    @property
    def scenario(self) -> Scenario:
        """Return the step as the runtime wants it described."""
        return Scenario(
            name="reference",
            model=self.model,
            cluster=parse_cluster(f"cpu:{self.plan.n_ranks}"),
            job=JobSpec(
                tokens=10**6,
                sequence_length=SEQUENCE_LENGTH,
                global_batch_sequences=self.plan.batch_sequences,
                precision=Precision.FP32,
            ),
        )


def alone(n_layers: int = 2) -> tuple[Reference, ...]:
    """Return the steps of a rank that talks to nobody: three shapes, two microbatches."""
    many_words = reference_model("reference-192", 192, 4096, n_layers)
    return tuple(
        Reference(model, PlanSpec(precision=Precision.FP32, microbatch_sequences=sequences))
        for model in (*_models(n_layers), many_words)
        for sequences in (1, 4)
    )


def together(n_ranks: int) -> tuple[Reference, ...]:
    """Return the steps of n ranks that work as one job, once per mechanism and width."""
    plans = (
        PlanSpec(dp_replicate=n_ranks, microbatch_sequences=2),
        PlanSpec(dp_shard=n_ranks, zero_stage=2, n_microbatches=3),
        PlanSpec(dp_shard=n_ranks, zero_stage=3, n_microbatches=2),
        PlanSpec(tp=n_ranks, microbatch_sequences=2),
        PlanSpec(tp=n_ranks, microbatch_sequences=2, sequence_parallel=True),
        PlanSpec(pp=n_ranks, n_microbatches=2 * n_ranks),
    )
    return tuple(
        Reference(model, plan.model_copy(update={"precision": Precision.FP32}))
        for plan in plans
        for model in _models(max(2, plan.pp))
    )


def _models(n_layers: int) -> tuple[ModelSpec, ...]:
    """A narrow and a wide model."""
    return (
        reference_model("reference-128", 128, 256, n_layers),
        reference_model("reference-320", 320, 1024, n_layers),
    )


def measure_references(
    references: tuple[Reference, ...],
    ranks: Together,
    group: dist.ProcessGroup | None,
    *,
    window_s: float,
) -> list[ReferencePoint]:
    """Time each step while all ranks that measure together do the same.

    `group` holds the ranks of one job; None where every rank is a job of its own. Round follows
    round until the window is over, so that a disturbance hits all the steps a little.
    """
    jobs = [_Job(reference, group) for reference in references]
    for job in jobs:
        for _ in range(N_WARMUP):
            job.step(ranks)
        job.forget()
    begin, n_rounds = time.perf_counter(), 0
    while n_rounds < MIN_ROUNDS or ranks.slowest([time.perf_counter() - begin])[0] < window_s:
        for job in jobs:
            job.step(ranks)
        n_rounds += 1
    return [job.point(ranks) for job in jobs]


def run_once(reference: Reference) -> None:
    """Do one step of a rank that talks to nobody."""
    _Job(reference, None).run()


class _Job:
    """A reference step, built and ready to be repeated."""

    def __init__(self, reference: Reference, group: dist.ProcessGroup | None) -> None:
        scenario, plan = reference.scenario, reference.plan
        mesh = Mesh(plan, "cpu", None if group is None else _device_mesh(plan, group))
        stages = build_stages(scenario, mesh, torch.device("cpu"))
        shape = (plan.microbatch_sequences * plan.n_microbatches, SEQUENCE_LENGTH)
        self._reference = reference
        self._passes = forward_backward_of(scenario, mesh, stages)
        self._update = _Update(scenario, stages)
        self._tokens = torch.randint(reference.model.vocab_size, shape)
        self._passes_s: list[float] = []
        self._updates_s: list[float] = []

    def step(self, ranks: Together) -> None:
        """Run once, in step with the others, and remember how long it took."""
        ranks.meet()
        self.run()

    def run(self) -> None:
        """Run once and remember how long it took."""
        begin = time.perf_counter()
        self._passes(self._tokens, self._tokens)
        middle = time.perf_counter()
        self._update()
        self._passes_s.append(middle - begin)
        self._updates_s.append(time.perf_counter() - middle)

    def forget(self) -> None:
        """Drop what was measured so far."""
        self._passes_s, self._updates_s = [], []

    def point(self, ranks: Together) -> ReferencePoint:
        """Return what was measured, of the slowest rank."""
        return ReferencePoint(
            model=self._reference.model,
            sequence_length=SEQUENCE_LENGTH,
            plan=self._reference.plan,
            n_busy_ranks=ranks.n_ranks,
            passes_s=statistics.median(ranks.slowest(self._passes_s)),
            update_s=statistics.median(ranks.slowest(self._updates_s)),
        )


def _device_mesh(plan: PlanSpec, group: dist.ProcessGroup) -> DeviceMesh:
    (axis,) = (axis for axis in AXES if getattr(plan, axis) > 1)
    return DeviceMesh.from_group(group, "cpu", mesh_dim_names=(axis,))


class _Update:
    """What the runtime's update does on one rank, without what it asks the others."""

    def __init__(self, scenario: Scenario, stages: list[Stage]) -> None:
        self._parameters = list(named_parameters(stages).values())
        self._optimizer = make_optimizer(self._parameters, scenario.job, Learning.of(scenario.run))

    def __call__(self) -> None:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        nn.utils.get_total_norm([g.to_local() if isinstance(g, DTensor) else g for g in gradients])
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
