"""Time of what a backward pass computes again: whole layers, or parts of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.cost.exchange import (
    repeats_last_sum,
    tensor_exchange,
    tensor_pair_s,
    tensor_sum_s,
)
from simulator.cost.experts import expert_passes, routed_tokens
from simulator.cost.layers import (
    attention_linears,
    dense_ffn_linears,
    query_key_value_sizes,
    shared_expert_linears,
)
from simulator.cost.passes import (
    HOST_FORWARD_SHARE,
    KernelTimes,
    eager_norm_bytes,
    linears_s,
)
from simulator.cost.plan_table import FloatArray
from simulator.cost.recompute import repeated, whole_share
from simulator.cost.setting import Setting
from simulator.cost.step_costs import LayerTime
from simulator.spec.recompute import Part

NORM_VALUES = 4.0
"""Values of hidden width that both norms of a layer read and write for a token."""
NORM_KERNELS = 2.0
ACTIVATION_KERNELS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One kind of layer, and the time of its forward."""

    setting: Setting
    times: KernelTimes
    forward: LayerTime
    mixture: bool


def repeated_time(
    setting: Setting, forward: LayerTime, times: KernelTimes, *, mixture: bool
) -> LayerTime:
    """What the backward pass of a layer computes again, in the mean over the model's layers.

    A layer that is repeated whole repeats its collectives too, but not its last operator
    (`recompute_fraction`), nor the last sum over tensor-parallel ranks where software stops early.
    The others repeat the plan's parts.
    """
    whole = whole_share(setting.model, setting.table)
    layer = _Layer(setting=setting, times=times, forward=forward, mixture=mixture)
    parts = {
        part: of_layer(layer) for part, of_layer in _PARTS.items() if part_is_asked(setting, part)
    }
    rest = {part: (1.0 - whole) * repeated(setting.table, part) for part in parts}

    def summed(name: str, factor: FloatArray | float = 1.0) -> FloatArray:
        total: FloatArray = whole * factor * getattr(forward, name)
        for part, time in parts.items():
            total = total + rest[part] * getattr(time, name)
        return total

    return LayerTime(
        compute_s=summed("compute_s", setting.software.recompute_fraction),
        tp_s=summed("tp_s", 1.0 - _skipped_share(layer)),
        cp_s=summed("cp_s"),
        ep_s=summed("ep_s"),
    )


def part_is_asked(setting: Setting, part: Part) -> bool:
    """Whether any of the plans repeats a part."""
    return bool(repeated(setting.table, part).any())


def _selective(layer: _Layer) -> LayerTime:
    """The attention core where it is unfused (Korthikanti et al., arXiv 2205.05198), otherwise some
    of the multiplications and all memory-bound kernels.
    """
    if layer.setting.job.attention == "unfused":
        return _core_attention(layer)
    share = layer.setting.software.selective_matmul_share
    return _only(share * layer.times.matmul_s + layer.times.elementwise_s)


def _core_attention(layer: _Layer) -> LayerTime:
    return _only(layer.times.attention_s)


def _norms(layer: _Layer) -> LayerTime:
    setting = layer.setting
    values = NORM_VALUES * setting.model.hidden_size / setting.sequence_share * setting.tokens
    seconds = _moved_s(setting, values, NORM_KERNELS)
    if setting.kernels.work is None:
        seconds = seconds + setting.kernels.memory_s(eager_norm_bytes(setting))
    return _only(seconds)


def _dense_ffn(layer: _Layer) -> LayerTime:
    setting = layer.setting
    if layer.mixture:
        return _only(np.zeros(len(setting.table)))
    matmul_s, _ = linears_s(setting, dense_ffn_linears(setting.model))
    inner = setting.model.ffn_size / setting.table.tp * setting.tokens
    return LayerTime(
        compute_s=matmul_s + _activation_s(setting, inner),
        tp_s=_repeated_tp_s(layer, _ffn_share(layer)),
        cp_s=np.zeros(len(setting.table)),
        ep_s=np.zeros(len(setting.table)),
    )


def _mixture(layer: _Layer) -> LayerTime:
    """Router, shared and routed experts, with what the host needs to launch them."""
    moe = layer.setting.model.moe
    if not layer.mixture or moe is None:
        return _only(np.zeros(len(layer.setting.table)))
    shared = _shared_experts(layer)
    compute_s = shared.compute_s + expert_passes(layer.setting, moe).forward_s
    launch_s = HOST_FORWARD_SHARE * layer.setting.software.moe_launch_s
    return LayerTime(
        compute_s=np.maximum(compute_s, launch_s),
        tp_s=_repeated_tp_s(layer, _ffn_share(layer)),
        cp_s=np.zeros(len(layer.setting.table)),
        ep_s=layer.forward.ep_s,
    )


def _expert_activations(layer: _Layer) -> LayerTime:
    setting, moe = layer.setting, layer.setting.model.moe
    if not layer.mixture or moe is None:
        return _only(np.zeros(len(setting.table)))
    inner = moe.expert_ffn_size / setting.expert_tp * routed_tokens(setting)
    return _only(_activation_s(setting, inner))


def _shared_experts(layer: _Layer) -> LayerTime:
    setting, moe = layer.setting, layer.setting.model.moe
    if not layer.mixture or moe is None:
        return _only(np.zeros(len(setting.table)))
    matmul_s, _ = linears_s(setting, shared_expert_linears(setting.model, moe))
    inner = moe.shared_ffn_size / setting.table.tp * setting.tokens
    pair_s = tensor_pair_s(setting) * (moe.shared_ffn_size > 0)
    return LayerTime(
        compute_s=matmul_s + _activation_s(setting, inner),
        tp_s=_repeated_tp_s(layer, _share_of(pair_s, layer)),
        cp_s=np.zeros(len(setting.table)),
        ep_s=np.zeros(len(setting.table)),
    )


def _latent_up(layer: _Layer) -> LayerTime:
    """Queries, keys and values from their latents, and the rotation of positions."""
    setting = layer.setting
    ups = [each for each in attention_linears(setting.model) if each.name in ("q_up", "kv_up")]
    matmul_s, _ = linears_s(setting, ups)
    queries, keys, _ = query_key_value_sizes(setting.model)
    rotated = 2.0 * (queries + keys) / setting.table.tp * setting.tokens
    return _only(matmul_s + _moved_s(setting, rotated, 2.0))


_PARTS: dict[Part, Callable[[_Layer], LayerTime]] = {
    "selective": _selective,
    "core-attn": _core_attention,
    "layernorm": _norms,
    "mlp": _dense_ffn,
    "moe": _mixture,
    "moe-act": _expert_activations,
    "shared-experts": _shared_experts,
    "mla-up-proj": _latent_up,
}


def _only(compute_s: FloatArray) -> LayerTime:
    nothing = np.zeros(len(compute_s))
    return LayerTime(compute_s=compute_s, tp_s=nothing, cp_s=nothing, ep_s=nothing)


def _activation_s(setting: Setting, inner_values: FloatArray) -> FloatArray:
    """Activation function of so many values, and what it gates."""
    moved = (2.0 + 3.0 * setting.model.gated_ffn) * inner_values
    return _moved_s(setting, moved, ACTIVATION_KERNELS)


def _moved_s(setting: Setting, values: FloatArray, n_kernels: float) -> FloatArray:
    """Memory-bound kernels that read and write so many values."""
    kernels, factor = setting.kernels, setting.software.elementwise_factor
    if kernels.work is not None:
        seconds: FloatArray = kernels.work.layer_value_s * values
        return seconds
    return kernels.elementwise_s(factor * kernels.value_bytes * values, n_kernels * factor)


def _repeated_tp_s(layer: _Layer, share: FloatArray) -> FloatArray:
    """Tensor-parallel exchanges of a part. Software that stops early repeats none: the part begins
    with gathered tokens, and its sums come last.
    """
    return (not layer.setting.software.stops_recompute_early) * share * layer.forward.tp_s


def _skipped_share(layer: _Layer) -> FloatArray:
    """Share of the tensor-parallel collectives that a whole layer does not repeat."""
    stops = ~repeats_last_sum(layer.setting, mixture=layer.mixture)
    return stops * _share_of(tensor_sum_s(layer.setting), layer)


def _ffn_share(layer: _Layer) -> FloatArray:
    """Share of a layer's tensor-parallel collectives that is not attention's."""
    return 1.0 - _share_of(tensor_pair_s(layer.setting), layer)


def _share_of(pair_s: FloatArray, layer: _Layer) -> FloatArray:
    exchange = tensor_exchange(layer.setting, mixture=layer.mixture)
    all_s = exchange.alone_s + exchange.beside_s
    return np.where(all_s > 0.0, pair_s / np.where(all_s > 0.0, all_s, 1.0), 0.0)
