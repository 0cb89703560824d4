"""Tensor parallelism: the weights of every layer divided over the tp axis, as DTensors.

Between layers every rank holds the whole activation, or, with sequence parallelism, its share of
the tokens. References: Shoeybi et al. 2019, arXiv:1909.08053, section 3; Korthikanti et al. 2022,
arXiv:2205.05198, section 4.2.2.
"""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.distributed.tensor.placement_types import Placement

from runtime.model.mixture import Mixture
from runtime.model.transformer import Transformer
from simulator.spec.model import ModelSpec
from simulator.spec.plan import PlanSpec

TOKENS = Shard(1)
"""Activations (B, T, D) divided by token."""

Styles = dict[str, ParallelStyle]


def divides_loss(spec: ModelSpec, plan: PlanSpec) -> bool:
    """Return whether the loss is computed on logits divided by vocabulary entry."""
    return plan.tp > 1 and spec.vocab_size % plan.tp == 0


def _edge_styles(between: Placement, *, divided_loss: bool) -> Styles:
    return {
        "embedding.tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=between),
        "embedding.positions": RowwiseParallel(input_layouts=Replicate(), output_layouts=between),
        "head": ColwiseParallel(
            input_layouts=between,
            output_layouts=Shard(-1) if divided_loss else Replicate(),
            use_local_output=not divided_loss,
        ),
        "loss": PrepareModuleOutput(output_layouts=Replicate(), desired_output_layouts=Replicate()),
    }


def _whole_input(between: Placement) -> ParallelStyle:
    """Have one DTensor for all projections behind it: their input gradients are summed before they
    are reduced.
    """
    return PrepareModuleInput(input_layouts=(between,), desired_input_layouts=(Replicate(),))


def _attention_styles(between: Placement) -> Styles:
    by_head = SequenceParallel(sequence_dim=2, use_local_output=True)
    return {
        "attention": _whole_input(between),
        "attention.wq": ColwiseParallel(),
        "attention.wk": ColwiseParallel(),
        "attention.wv": ColwiseParallel(),
        "attention.q_norm": by_head,
        "attention.k_norm": by_head,
        "attention.wo": RowwiseParallel(output_layouts=between),
    }


def _feed_forward_styles(between: Placement, path: str) -> Styles:
    return {
        path: _whole_input(between),
        f"{path}.up": ColwiseParallel(),
        f"{path}.gate": ColwiseParallel(),
        f"{path}.down": RowwiseParallel(output_layouts=between),
    }


def _styles(model: Transformer, spec: ModelSpec, plan: PlanSpec) -> Styles:
    between: Placement = TOKENS if plan.sequence_parallel else Replicate()
    edge = _edge_styles(between, divided_loss=divides_loss(spec, plan))
    shared = _attention_styles(between)
    dense = _feed_forward_styles(between, "ffn")
    mixture = _feed_forward_styles(between, "ffn.shared")
    if plan.sequence_parallel:
        by_token = SequenceParallel(use_local_output=True)
        edge |= {"embedding.norm": by_token, "norm": by_token}
        shared |= {"attention_norm": by_token, "ffn_norm": by_token}
        mixture |= {"ffn.shared_gate": by_token}
    for layer, block in model.layers.items():
        ffn = mixture if isinstance(block.ffn, Mixture) else dense
        edge |= {f"layers.{layer}.{path}": style for path, style in (shared | ffn).items()}
    return edge


def divide_tensors(model: Transformer, spec: ModelSpec, plan: PlanSpec, mesh: DeviceMesh) -> None:
    """Replace the weights of a chunk by DTensors over the tp axis.

    Every rank must hold the same weights: they are divided without communication.
    """
    present = {
        path for path, module in model.named_modules() if not isinstance(module, nn.Identity)
    }
    styles = {path: style for path, style in _styles(model, spec, plan).items() if path in present}
    parallelize_module(model, mesh, styles, src_data_rank=None)
    if model.tied and model.embedding is not None and model.head is not None:
        model.head.weight = model.embedding.tokens.weight
