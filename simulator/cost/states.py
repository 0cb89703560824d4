"""Model states on one rank: weights, gradients, optimizer state, and copies that come and go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.data_parallel import (
    gradient_bytes,
    owned_parameters,
    stage_parameters,
    state_bytes,
    weight_bytes,
)
from simulator.cost.layers import attention_linears, dense_ffn_linears
from simulator.cost.plan_table import FloatArray
from simulator.cost.setting import Setting
from simulator.cost.shares import RankParameters, head_parameters, layer_parameters
from simulator.cost.stages import StageLayers
from simulator.spec.base import Precision

GATHERED_LAYERS = 2.0
"""Layers whose gathered weights and gradients are held at once: this one and the prefetched."""
HEAD_GRADIENT_SHARE = 0.5
"""Of the head's new 16-bit gradient, what is still there at the peak; fits the tensors that
MooreThreads/SimuMax@4dcaae5 measured on B200 within 0.5 %."""
MASTER_BYTES = 4.0
"""The fp32 copy of a 16-bit weight that the optimizer updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStates:
    """What depends on the mesh and on the layers of a stage; arrays of shape (n, stages)."""

    weights_bytes: FloatArray
    gradients_bytes: FloatArray
    optimizer_bytes: FloatArray
    pass_buffers_bytes: FloatArray
    """Gathered weights, and gradients before they are reduced or added, while layers are passed."""
    update_buffers_bytes: FloatArray
    """Temporaries of the optimizer."""
    holes_bytes: FloatArray
    """What the allocator does not find room in again, beside its share of all tensors."""

    @property
    def kept_bytes(self) -> FloatArray:
        """What is there for the whole step."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes


def model_states(setting: Setting, stages: StageLayers) -> ModelStates:
    """Return the states of some stages of every plan under its ZeRO stage.

    Stage 1 divides the optimizer state, 2 also the gradients, 3 also the weights. Gradients that
    several microbatches of a pipeline add to stay whole.

    References
    ----------
    Rajbhandari et al., ZeRO, arXiv 1910.02054, section 5.
    """
    job, memory, zero = setting.job, setting.software.memory, setting.table.zero_stage[:, None]
    whole = stage_parameters(setting, stages)
    n_whole = whole.common + whole.routed
    n_owned = owned_parameters(setting, whole)
    reduced_at_once = (zero >= 2) & (setting.table.pp[:, None] == 1)
    in_shards = memory.shards_fp32_weights & (zero >= 1)
    gathered = weight_bytes(job) * np.where(zero == 3, 0.0, n_whole)
    shards = np.where(in_shards, MASTER_BYTES, weight_bytes(job) * (zero == 3)) * n_owned
    mixed = job.precision is not Precision.FP32
    comes_and_goes = gradient_bytes(job) * (zero >= 1) + 2.0 * weight_bytes(job) * (zero == 3)
    return ModelStates(
        weights_bytes=gathered + shards,
        gradients_bytes=gradient_bytes(job) * np.where(reduced_at_once, n_owned, n_whole),
        optimizer_bytes=(state_bytes(job) - MASTER_BYTES * (in_shards & mixed)) * n_owned,
        pass_buffers_bytes=np.where(
            zero >= 2,
            _gathered_bytes(setting, stages),
            _new_gradients_bytes(setting, stages) + _bucket_bytes(setting, n_whole),
        ),
        update_buffers_bytes=memory.update_bytes * n_owned,
        holes_bytes=memory.gathered_holes * comes_and_goes * n_whole,
    )


def _bucket_bytes(setting: Setting, n_whole: FloatArray) -> FloatArray:
    """Buckets of DDP (pytorch/pytorch:torch/csrc/distributed/c10d/reducer.cpp), which wait while
    gradients add up: with one microbatch the gradients become views of them.

    DTensors are not DDP's.
    """
    table = setting.table
    beside = (table.zero_stage == 0) & (table.dp_replicate > 1) & (table.tp == 1)
    beside = beside & (table.n_microbatches > 1) & setting.software.memory.ddp_buckets
    bucket: FloatArray = beside[:, None] * gradient_bytes(setting.job) * n_whole
    return bucket


def _gathered_bytes(setting: Setting, stages: StageLayers) -> FloatArray:
    """Whole weights and gradients of the layers that are being worked on.

    Where gradients stay whole for the sake of a pipeline, the new ones of one layer come in 16 bit
    and once more in the width in which they are added.
    """
    table, job = setting.table, setting.job
    layer = _heaviest_layer(setting, stages)
    weight, gradient = weight_bytes(job), gradient_bytes(job)
    weights = GATHERED_LAYERS * weight * (table.zero_stage == 3)
    gradients = np.where(table.pp == 1, GATHERED_LAYERS * gradient, weight + gradient)
    gathered: FloatArray = (weights + gradients)[:, None] * layer
    return gathered


def _heaviest_layer(setting: Setting, stages: StageLayers) -> FloatArray:
    def parameters(*, mixture: bool) -> FloatArray:
        held: RankParameters = layer_parameters(
            setting.model, setting.table, setting.expert_tp, mixture=mixture
        )
        return held.common + held.routed

    dense = (stages.dense > 0) * parameters(mixture=False)[:, None]
    heaviest: FloatArray = np.maximum(dense, (stages.moe > 0) * parameters(mixture=True)[:, None])
    return heaviest


def _new_gradients_bytes(setting: Setting, stages: StageLayers) -> FloatArray:
    """Gradients of the widest matrix and of the head, before they are added to the kept ones."""
    if setting.software.memory.fused_gradients:
        return np.zeros(stages.heads.shape)
    model = setting.model
    linears = attention_linears(model) + dense_ffn_linears(model)
    widest = max(linear.n_weights for linear in linears) / setting.table.tp
    head = (stages.heads > 0) * head_parameters(model, setting.table)[:, None]
    new: FloatArray = gradient_bytes(setting.job) * widest[:, None]
    return new + HEAD_GRADIENT_SHARE * weight_bytes(setting.job) * head
