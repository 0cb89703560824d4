"""What transformers 5.24 assumes for the keys that a `config.json` leaves out, per model_type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NUMBERS = {"initializer_range": 0.02, "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
_LLAMA_7B = _NUMBERS | {
    "rms_norm_eps": 1e-6,
    "vocab_size": 32000,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
}
_MISTRAL_7B = _LLAMA_7B | {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
}
_QWEN_7B = _LLAMA_7B | {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}
_BASE = _NUMBERS | {
    "layer_norm_eps": 1e-12,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
}

DEFAULTS: dict[str, Mapping[str, Any]] = {
    "llama": _LLAMA_7B,
    "mistral": _MISTRAL_7B | {"sliding_window": 4096},
    "mixtral": _MISTRAL_7B
    | {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "rope_theta": 1_000_000.0,
        "rms_norm_eps": 1e-5,
        "router_aux_loss_coef": 0.001,
    },
    "qwen2": _QWEN_7B | {"qkv_bias": True},
    "qwen3": _QWEN_7B | {"head_dim": 128},
    "qwen2_moe": _QWEN_7B
    | {
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "intermediate_size": 5632,
        "num_experts": 60,
        "router_aux_loss_coef": 0.001,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "qkv_bias": True,
    },
    "qwen3_moe": _QWEN_7B
    | {
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "intermediate_size": 6144,
        "num_experts": 128,
        "router_aux_loss_coef": 0.001,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    },
    "deepseek_v2": _LLAMA_7B
    | {
        "vocab_size": 102400,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 64,
        "scoring_func": "softmax",
        "topk_method": "greedy",
        "routed_scaling_factor": 1.0,
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "n_shared_experts": 2,
        "moe_intermediate_size": 1407,
    },
    "deepseek_v3": _LLAMA_7B
    | {
        "vocab_size": 129280,
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "intermediate_size": 18432,
        "max_position_embeddings": 4096,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 256,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "n_group": 8,
        "topk_group": 4,
        "aux_loss_alpha": 0.001,
        "seq_aux": True,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
        "num_nextn_predict_layers": 1,
    },
    "gpt2": {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5,
    },
    "gpt_neox": _NUMBERS
    | {
        "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.25,
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "max_position_embeddings": 2048,
        "use_parallel_residual": True,
        "attention_bias": True,
    },
    "bert": _BASE
    | {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "tie_word_embeddings": True,
    },
    "esm": _BASE | {"max_position_embeddings": 1026, "tie_word_embeddings": True},
    "vit": _BASE | {"image_size": 224, "patch_size": 16, "num_channels": 3, "qkv_bias": True},
}
