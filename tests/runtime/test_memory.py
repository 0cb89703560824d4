"""What the runtime keeps for the backward pass is what the simulator counts."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from runtime.model.initialize import initialize
from runtime.model.transformer import Transformer, whole_model
from simulator.catalog import find_software
from simulator.catalog.cluster import parse_cluster
from simulator.cost.memory import memory_breakdown
from simulator.spec.job import JobSpec
from simulator.spec.model import ModelSpec
from tests.runtime.plans import TINY, fp32
from tests.runtime.plans_equal import MIXTRAL

SEQUENCES, TOKENS = 4, 64


def saved_bytes(model: Transformer, vocab_size: int) -> int:
    """Bytes of all that autograd keeps of one forward pass, weights left out."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor  # held, so that no other tensor takes its place
        return tensor

    tokens = torch.randint(vocab_size, (SEQUENCES, TOKENS))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        model(tokens, tokens)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def predicted_bytes(model: ModelSpec) -> float:
    job = JobSpec.model_validate(
        {"sequence_length": TOKENS, "global_batch_sequences": SEQUENCES, "precision": "fp32"}
    )
    software = find_software("gloo-cpu")
    plan = fp32(microbatch_sequences=SEQUENCES)
    (held,) = memory_breakdown(model, parse_cluster("cpu:1"), job, software, plan)
    return held.activations_bytes


@pytest.mark.parametrize(
    ("model", "tolerance"),
    [(TINY, 0.02), (TINY.model_copy(update={"n_kv_heads": 4}), 0.02), (MIXTRAL, 0.025)],
    ids=["few key heads", "as many key heads", "experts"],
)
def test_a_layer_keeps_what_is_predicted(model: ModelSpec, tolerance: float) -> None:
    few, more = (model.model_copy(update={"n_layers": n}) for n in (2, 6))
    measured = [saved_bytes(initialized(spec), spec.vocab_size) for spec in (few, more)]
    predicted = [predicted_bytes(spec) for spec in (few, more)]
    assert predicted[1] - predicted[0] == pytest.approx(measured[1] - measured[0], rel=tolerance)


def initialized(spec: ModelSpec) -> Transformer:
    model = Transformer(spec, whole_model(spec))
    initialize(model, spec, seed=0)
    return model
