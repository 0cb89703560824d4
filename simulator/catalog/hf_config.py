"""Hugging Face `config.json` to a model, offline and without transformers.

One function per architecture and one table of defaults: a missing key means what it means to
transformers. A test compares parameter counts with transformers' own models.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.catalog.hf_defaults import DEFAULTS
from simulator.catalog.hf_keys import Config
from simulator.catalog.json_text import read_json
from simulator.catalog.mistakes import validate
from simulator.catalog.yaml_text import Document
from simulator.spec.base import spec_name
from simulator.spec.errors import InputError, unknown_name
from simulator.spec.files import read_text
from simulator.spec.model import ModelSpec

LIMIT_BYTES = 1024 * 1024

Fields = dict[str, Any]


def _rope(c: Config) -> Fields:
    """Return the rotary positions: keys of their own, or a section of newer files."""
    section = c.section("rope_parameters", "rope_scaling")
    own = replace(c, values=dict(c.values) | dict(section.values))
    fields: Fields = {
        "rope_base": own.number("rope_theta", "rotary_emb_base"),
        "rope_fraction": own.number("partial_rotary_factor", "rotary_pct"),
    }
    kind = section.get("rope_type", "type")
    if kind in (None, "default"):
        return fields
    if kind not in _SCALING:
        logging.getLogger(__name__).warning(
            "%s: rotary scaling of type %r is left out; known are %s",
            c.where, kind, ", ".join(_SCALING),
        )  # fmt: skip
        return fields
    scaling = {ours: section.number(theirs) for ours, theirs in _SCALING[kind].items()}
    given = {ours: section.number(theirs) for ours, theirs in _SCALING_GIVEN.items()
             if section.get(theirs)}  # fmt: skip
    return fields | {"rope_scaling": {"kind": kind} | scaling | given}


_SCALING: dict[str, dict[str, str]] = {
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_frequency_factor": "low_freq_factor",
        "high_frequency_factor": "high_freq_factor",
    },
    "yarn": {"factor": "factor"},
}
_SCALING_GIVEN = {
    "original_positions": "original_max_position_embeddings",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "mscale": "mscale",
    "mscale_all_dim": "mscale_all_dim",
}


def _decoder(c: Config) -> Fields:
    """Llama and everything shaped like it."""
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    if c.flag("use_sliding_window"):
        logging.getLogger(__name__).warning(
            "%s: sliding-window attention in some layers only is counted as full attention", c.where
        )
    return {
        "n_layers": c.size("num_hidden_layers"),
        "hidden_size": hidden,
        "n_heads": heads,
        "n_kv_heads": c.size_or(heads, "num_key_value_heads"),
        "head_dim": c.size_or(max(1, hidden // heads), "head_dim"),
        "ffn_size": c.size("intermediate_size"),
        "activation": c.activation("hidden_act"),
        "vocab_size": c.size("vocab_size"),
        "max_positions": c.size("max_position_embeddings"),
        **_rope(c),
        **_numbers(c),
        "qkv_bias": c.flag("attention_bias") or c.flag("qkv_bias"),
        "attention_out_bias": c.flag("attention_bias"),
        "ffn_bias": c.flag("mlp_bias"),
        "tied_embeddings": c.flag("tie_word_embeddings"),
    }


def _numbers(c: Config) -> Fields:
    return {
        "norm_eps": c.number("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"),
        "init_std": c.number("initializer_range"),
    }


def _balanced(c: Config, kind: str, *keys: str) -> Fields:
    """Return how routing is balanced: a loss where its coefficient is not zero."""
    coefficient = c.get(*keys) or 0
    if not coefficient:
        return {"load_balancing": "none"}
    return {"load_balancing": kind, "aux_loss_coefficient": c.number(*keys)}


def _mistral(c: Config) -> Fields:
    return _decoder(c) | {"sliding_window": c.size_or(0, "sliding_window")}


def _mixtral(c: Config) -> Fields:
    moe = {
        "n_experts": c.size("num_local_experts", "num_experts"),
        "top_k": c.size("num_experts_per_tok"),
        "expert_ffn_size": c.size("intermediate_size"),
        **_balanced(c, "aux-loss", "router_aux_loss_coef"),
    }
    return _mistral(c) | {"ffn_size": 0, "moe": moe}


def _qwen3(c: Config) -> Fields:
    return _decoder(c) | {"qk_norm": True}


def _qwen_mixture(c: Config) -> Fields:
    period = c.size_or(1, "decoder_sparse_step")
    dense = c.get("mlp_only_layers") or []
    if dense != list(range(len(dense))) or (dense and period > 1):
        raise InputError(
            "mlp_only_layers: only the first layers can be dense, or every "
            f"decoder_sparse_step-th can be a mixture, not {dense!r:.40}",
            where=c.where,
        )
    return {
        "n_experts": c.size("num_experts", "num_local_experts"),
        "top_k": c.size("num_experts_per_tok"),
        "expert_ffn_size": c.size("moe_intermediate_size"),
        "n_dense_layers": len(dense),
        "layer_period": period,
        "normalize_top_k": c.flag("norm_topk_prob"),
        **_balanced(c, "aux-loss", "router_aux_loss_coef"),
    }


def _qwen2_moe(c: Config) -> Fields:
    shared = {
        "n_shared_experts": 1,
        "shared_expert_ffn_size": c.size("shared_expert_intermediate_size"),
        "shared_expert_gate": True,
    }
    return _decoder(c) | {"moe": _qwen_mixture(c) | shared}


def _qwen3_moe(c: Config) -> Fields:
    return _qwen3(c) | {"moe": _qwen_mixture(c)}


def _deepseek(c: Config) -> Fields:
    heads, nope, rope = (
        c.size("num_attention_heads"),
        c.size("qk_nope_head_dim"),
        c.size("qk_rope_head_dim"),
    )
    mla = {
        "q_lora_rank": c.size_or(0, "q_lora_rank"),
        "kv_lora_rank": c.size("kv_lora_rank"),
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": c.size("v_head_dim"),
    }
    moe = {
        "n_experts": c.size("n_routed_experts"),
        "top_k": c.size("num_experts_per_tok"),
        "expert_ffn_size": c.size("moe_intermediate_size"),
        "n_shared_experts": c.size_or(0, "n_shared_experts"),
        "n_dense_layers": c.size_or(0, "first_k_dense_replace"),
        "layer_period": c.size_or(1, "moe_layer_freq"),
        "router_score": c.get("scoring_func"),
        "normalize_top_k": c.flag("norm_topk_prob"),
        "routed_scale": c.number("routed_scaling_factor"),
        **_balanced(c, "sequence-aux-loss" if c.flag("seq_aux") else "aux-loss", "aux_loss_alpha"),
    }
    if c.get("topk_method") != "greedy":
        moe |= {"n_groups": c.size_or(1, "n_group"), "top_groups": c.size_or(1, "topk_group")}
    if c.get("topk_method") == "noaux_tc":
        moe["expert_bias_rate"] = _BIAS_RATE
    return _decoder(c) | {
        "n_kv_heads": heads,
        "head_dim": nope + rope,
        "n_mtp_layers": c.size_or(0, "num_nextn_predict_layers"),
        "mla": mla,
        "moe": moe,
    }


_BIAS_RATE = 0.001
"""DeepSeek-V3's: arXiv 2412.19437, section 4.2. Configurations do not hold it."""

_LAYERNORM_BIASED = {
    "gated_ffn": False,
    "norm": "layernorm",
    "qkv_bias": True,
    "attention_out_bias": True,
    "ffn_bias": True,
}


def _gpt2(c: Config) -> Fields:
    hidden, heads = c.size("n_embd", "hidden_size"), c.size("n_head", "num_attention_heads")
    return _LAYERNORM_BIASED | {
        "n_layers": c.size("n_layer", "num_hidden_layers"),
        "hidden_size": hidden,
        "n_heads": heads,
        "n_kv_heads": heads,
        "head_dim": max(1, hidden // heads),
        "ffn_size": c.size_or(4 * hidden, "n_inner"),
        "activation": c.activation("activation_function"),
        "vocab_size": c.size("vocab_size"),
        "max_positions": c.size("n_positions", "max_position_embeddings"),
        "position": "learned",
        "tied_embeddings": c.flag("tie_word_embeddings"),
        **_numbers(c),
    }


def _gpt_neox(c: Config) -> Fields:
    bias = c.flag("attention_bias")
    return (
        _decoder(c)
        | _LAYERNORM_BIASED
        | {
            "qkv_bias": bias,
            "attention_out_bias": bias,
            "parallel_residual": c.flag("use_parallel_residual"),
        }
    )


def _bert(c: Config) -> Fields:
    return (
        _decoder(c)
        | _LAYERNORM_BIASED
        | {
            "kind": "encoder",
            "position": "learned",
            "n_token_types": c.size_or(0, "type_vocab_size"),
            "embedding_norm": True,
            "final_norm": False,
            "lm_head_transform": True,
            "head_bias": True,
        }
    )


def _esm(c: Config) -> Fields:
    rotary = c.get("position_embedding_type") == "rotary"
    return (
        _decoder(c)
        | _LAYERNORM_BIASED
        | {
            "kind": "encoder",
            "position": "rope" if rotary else "learned",
            "embedding_norm": c.flag("emb_layer_norm_before"),
            "lm_head_transform": True,
            "head_bias": True,
        }
    )


def _vit(c: Config) -> Fields:
    architectures = c.get("architectures") or []
    labels = c.get("id2label") or {}
    has_head = bool(labels) or any("Classification" in str(name) for name in architectures)
    patches = {
        "image_size": c.size("image_size"),
        "patch_size": c.size("patch_size"),
        "n_channels": c.size("num_channels"),
        "n_classes": (len(labels) or 2) if has_head else 0,
    }
    n_patches = (patches["image_size"] // patches["patch_size"]) ** 2
    fields = _decoder(replace(c, values=_NO_TEXT | dict(c.values))) | _LAYERNORM_BIASED
    return fields | {
        "kind": "vit",
        "vocab_size": 0,
        "max_positions": n_patches + 1,
        "position": "learned",
        "qkv_bias": c.flag("qkv_bias"),
        "lm_head": False,
        "patches": patches,
    }


_NO_TEXT = {"vocab_size": 1, "max_position_embeddings": 1}

FAMILIES: dict[str, Callable[[Config], Fields]] = {
    "llama": _decoder,
    "mistral": _mistral,
    "mixtral": _mixtral,
    "qwen2": _decoder,
    "qwen3": _qwen3,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "bert": _bert,
    "esm": _esm,
    "vit": _vit,
}
"""How the configurations of one `model_type` are read."""


def read_hf_config(path: str | Path) -> ModelSpec:
    """Return the model that a `config.json` (or a folder that holds one) describes."""
    file = Path(path)
    if file.is_dir():
        file /= "config.json"
    where = str(file)
    values = read_json(read_text(file, limit_bytes=LIMIT_BYTES), where)
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise InputError(
            "no model_type in it", where=where, fix="give the config.json of a Hugging Face model"
        )
    model_type = values["model_type"]
    if model_type not in FAMILIES:
        raise unknown_name("model_type", model_type, FAMILIES, where=where)
    config = Config(values, DEFAULTS[model_type], where)
    fields = FAMILIES[model_type](config)
    config.tell_assumed()
    fields["name"] = spec_name(str(values.get("_name_or_path") or file.resolve().parent.name))
    fields["source"] = f"{file.name} ({model_type})"
    return validate(ModelSpec, Document(fields, {}, where), fields)
