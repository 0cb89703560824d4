"""A model chunk on its rank: built, initialized, divided by the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from runtime.exchange.load import load_weights
from runtime.mesh import Mesh
from runtime.model.initialize import initialize
from runtime.model.transformer import Chunk, Transformer
from runtime.parallel.activation import recompute_activations
from runtime.parallel.context import divide_context
from runtime.parallel.data import DTYPES, divide_data
from runtime.parallel.experts import divide_experts
from runtime.parallel.tensor import divide_tensors
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Stage:
    """One chunk."""

    index: int
    """Of the chunk, counted along the model."""
    model: Transformer
    """The bare chunk, whose parameter names are those of the whole model."""
    module: nn.Module
    """The chunk as it is called: wrapped for data parallelism."""


def chunks_of_rank(plan: PlanSpec, n_layers: int, pp_rank: int) -> dict[int, Chunk]:
    """Return the chunks of one pipeline rank by index."""
    sizes = plan.chunk_layers(n_layers)
    return {
        index: Chunk(
            first_layer=sum(sizes[:index]),
            n_layers=sizes[index],
            is_first=index == 0,
            is_last=index == plan.n_chunks - 1,
        )
        for index in plan.chunks_of_rank(pp_rank)
    }


def build_stages(
    scenario: Scenario, mesh: Mesh, device: torch.device, *, init_from: str | None = None
) -> list[Stage]:
    """Return the chunks of this rank, ready to train, with random weights or those of a folder.

    The order matters: weights are divided by tensor first, layers recompute inside what data
    parallelism gathers.
    """
    plan, spec = mesh.plan, scenario.model
    stages = []
    for index, chunk in chunks_of_rank(plan, spec.n_layers, mesh.place("pp")).items():
        model = Transformer(spec, chunk, batch_share=1 / plan.n_microbatches)
        if init_from is None:
            initialize(model, spec, scenario.seed)
        else:
            load_weights(model, spec, Path(init_from))
        model.to(device)
        model.compute_dtype = DTYPES[plan.precision]
        if mesh.has("tp"):
            divide_tensors(model, spec, plan, mesh.axes("tp"))
        if mesh.has("cp"):
            divide_context(model, mesh)
        divide_experts(model, mesh)
        recompute_activations(model, plan.recompute_kind)
        stages.append(Stage(index, model, divide_data(model, mesh, scenario.job)))
    return stages


def named_parameters(stages: list[Stage]) -> dict[str, nn.Parameter]:
    """Return the parameters of this rank under the names of the whole model."""
    return {name: weight for stage in stages for name, weight in stage.model.named_weights()}
