"""Pipeline parallelism: the plan's schedule, executed by torch.distributed.pipelining.

The schedule is the simulator's own table (`simulator.schedule`): what was predicted is what runs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import _Action, _PipelineScheduleRuntime
from torch.distributed.tensor import DTensor

from runtime.mesh import Mesh
from runtime.model.transformer import TIED_WEIGHT
from runtime.stage import Stage, named_parameters
from simulator.schedule import actions_of
from simulator.spec.scenario import Scenario


def _loss_is_output(output: Tensor, _target: Tensor) -> Tensor:
    return output


class Pipeline:
    """The chunks of this rank, run in the order of the schedule."""

    def __init__(self, scenario: Scenario, mesh: Mesh, stages: list[Stage]) -> None:
        self._group = mesh.axes("pp").get_group()
        self._has_end = any(stage.model.chunk.is_last for stage in stages)
        self._has_start = any(stage.model.chunk.is_first for stage in stages)
        # The last chunk returns its loss, so that no rank keeps logits for longer than needed.
        self._schedule = _PipelineScheduleRuntime(  # type: ignore[no-untyped-call]
            [self._pipeline_stage(scenario, mesh, stage) for stage in stages],
            mesh.plan.n_microbatches,
            loss_fn=_loss_is_output,
            scale_grads=False,  # the losses are shares already
        )
        self._schedule.pipeline_order = {
            rank: [_Action.from_str(str(action)) for action in actions]
            for rank, actions in enumerate(actions_of(mesh.plan).ranks)
        }
        # What _load_csv(format="compute_only") does once it has read the same cells from a file.
        self._schedule._prepare_schedule_with_comms(self._schedule.pipeline_order)

    def _pipeline_stage(self, scenario: Scenario, mesh: Mesh, stage: Stage) -> PipelineStage:
        plan = mesh.plan
        n_tokens = scenario.job.sequence_length // plan.cp
        token_share = n_tokens // (plan.tp if plan.sequence_parallel else 1)
        device = next(stage.model.parameters()).device
        activation = torch.empty(
            (plan.microbatch_sequences, token_share, scenario.model.hidden_size),
            dtype=stage.model.compute_dtype,
            device=device,
            requires_grad=True,
        )
        tokens = torch.empty(
            (plan.microbatch_sequences, n_tokens), dtype=torch.int64, device=device
        )
        return PipelineStage(
            stage.module,
            stage.index,
            plan.n_chunks,
            device,
            input_args=tokens if stage.model.chunk.is_first else activation,
            output_args=torch.empty((), device=device, requires_grad=True)
            if stage.model.chunk.is_last
            else activation,
            group=self._group,
        )

    def __call__(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        losses: list[Tensor] = []
        targets: dict[str, Any] = {"targets_BT": targets_BT} if self._has_end else {}
        self._schedule.step(
            *((tokens_BT,) if self._has_start else ()),
            **targets,
            target=targets_BT if self._has_end else None,
            losses=losses,
            return_outputs=False,
        )
        if not self._has_end:
            return torch.zeros((), device=tokens_BT.device)
        return torch.stack(losses).sum().detach()


class TiedWeight:
    """The one weight of an embedding and a head that stand on two pipeline ranks."""

    def __init__(self, mesh: Mesh, stages: list[Stage]) -> None:
        assert mesh.device_mesh is not None
        self._group: dist.ProcessGroup | None = None
        first_ranks, last_ranks = mesh.device_mesh.mesh[0], mesh.device_mesh.mesh[-1]
        for pair in zip(first_ranks.flatten().tolist(), last_ranks.flatten().tolist(), strict=True):
            group = dist.new_group(list(pair))  # every rank has to take part in making every group
            if dist.get_rank() in pair:
                self._group = group
        weights = named_parameters(stages)
        self.weight = weights.get(TIED_WEIGHT)
        """The copy of this rank; None on ranks between the ends."""

    def add_gradients(self) -> None:
        """Give both copies the sum of their gradients."""
        if self.weight is not None:
            gradient = self.weight.grad
            local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
            dist.all_reduce(local, group=self._group)


def tied_weight(scenario: Scenario, mesh: Mesh, stages: list[Stage]) -> TiedWeight | None:
    """Return the weight that embedding and head share across ranks, where they do."""
    if mesh.has("pp") and scenario.model.tied_embeddings:
        return TiedWeight(mesh, stages)
    return None
