"""The config.json of a model, in the words of its family; `read_hf_config` is the way back."""

from __future__ import annotations

from typing import Any

from runtime.exchange.places import Family
from simulator.spec.model import ModelSpec, RopeScaling

_ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu-tanh": "gelu_new",
    "relu": "relu",
    "relu2": "relu2",
}
_ARCHITECTURES = {
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def config_of(spec: ModelSpec, family: Family) -> dict[str, Any]:
    """Return the values of a config.json."""
    kind = family.model_type
    shape = _gpt2(spec) if kind == "gpt2" else _llama(spec) | _mixture(spec) | _latent(spec)
    return {
        "model_type": kind,
        "architectures": [_ARCHITECTURES[kind]],
        "torch_dtype": "float32",
        "vocab_size": spec.vocab_size,
        "initializer_range": spec.init_std,
        "tie_word_embeddings": spec.tied_embeddings,
        **shape,
    }


def _gpt2(spec: ModelSpec) -> dict[str, Any]:
    return {
        "n_layer": spec.n_layers,
        "n_embd": spec.hidden_size,
        "n_head": spec.n_heads,
        "n_inner": spec.ffn_size,
        "n_positions": spec.max_positions,
        "activation_function": _ACTIVATIONS[spec.activation],
        "layer_norm_epsilon": spec.norm_eps,
    }


def _llama(spec: ModelSpec) -> dict[str, Any]:
    return {
        "num_hidden_layers": spec.n_layers,
        "hidden_size": spec.hidden_size,
        "num_attention_heads": spec.n_heads,
        "num_key_value_heads": spec.n_kv_heads,
        "head_dim": spec.head_dim,
        "intermediate_size": spec.ffn_size,
        "hidden_act": _ACTIVATIONS[spec.activation],
        "max_position_embeddings": spec.max_positions,
        "rms_norm_eps": spec.norm_eps,
        "attention_bias": spec.attention_out_bias,
        "qkv_bias": spec.qkv_bias,
        "mlp_bias": spec.ffn_bias,
        "sliding_window": spec.sliding_window or None,
        "rope_theta": spec.rope_base,
        "rope_scaling": _scaling(spec.rope_scaling),
    }


def _scaling(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    values = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "llama3":
        return values
    return values | {
        "low_freq_factor": scaling.low_frequency_factor,
        "high_freq_factor": scaling.high_frequency_factor,
        "original_max_position_embeddings": scaling.original_positions,
    }


def _mixture(spec: ModelSpec) -> dict[str, Any]:
    moe = spec.moe
    if moe is None:
        return {}
    return {
        "num_experts": moe.n_experts,
        "num_local_experts": moe.n_experts,
        "num_experts_per_tok": moe.top_k,
        "moe_intermediate_size": moe.expert_ffn_size,
        "shared_expert_intermediate_size": moe.shared_ffn_size,
        "intermediate_size": spec.ffn_size or moe.expert_ffn_size,
        "norm_topk_prob": moe.normalize_top_k,
        "mlp_only_layers": list(range(moe.n_dense_layers)),
        "decoder_sparse_step": moe.layer_period,
        "router_aux_loss_coef": moe.aux_loss_coefficient,
    }


def _latent(spec: ModelSpec) -> dict[str, Any]:
    """Return what DeepSeek's models say in their own words."""
    mla, moe = spec.mla, spec.moe
    if mla is None:
        return {}
    latent: dict[str, Any] = {
        "q_lora_rank": mla.q_lora_rank or None,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_nope_head_dim": mla.qk_nope_head_dim,
        "qk_rope_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
        "head_dim": mla.qk_rope_head_dim,
    }
    if moe is None:
        return latent | {"first_k_dense_replace": spec.n_layers}
    return latent | {
        "n_routed_experts": moe.n_experts,
        "n_shared_experts": moe.n_shared_experts,
        "first_k_dense_replace": moe.n_dense_layers,
        "moe_layer_freq": moe.layer_period,
        "routed_scaling_factor": moe.routed_scale,
        "topk_method": "greedy" if moe.n_groups == 1 else "group_limited_greedy",
        "n_group": moe.n_groups,
        "topk_group": moe.top_groups,
        "scoring_func": moe.router_score,
        "seq_aux": moe.load_balancing == "sequence-aux-loss",
        "aux_loss_alpha": moe.aux_loss_coefficient,
    }
