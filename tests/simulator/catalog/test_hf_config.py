"""Hugging Face configurations are read as transformers reads them: parameter counts are equal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog import find_model
from simulator.catalog.hf_config import FAMILIES, read_hf_config
from simulator.cost.parameters import count_parameters
from simulator.spec.errors import InputError

SMALL = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6}
MLA = {
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "num_experts_per_tok": 3,
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", SMALL | {"num_key_value_heads": 2, "head_dim": 20, "tie_word_embeddings": True}),
    ("llama", SMALL | {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu"}),
    ("mistral", {}),
    ("mistral", {"head_dim": 64, "sliding_window": None}),
    ("mixtral", {}),
    ("mixtral", SMALL | {"num_key_value_heads": 3, "num_local_experts": 5}),
    ("qwen2", {}),
    ("qwen2", SMALL | {"num_key_value_heads": 6, "tie_word_embeddings": True}),
    ("qwen3", {}),
    ("qwen3", SMALL | {"num_key_value_heads": 2, "head_dim": 32, "attention_bias": True}),
    ("qwen2_moe", {}),
    ("qwen2_moe", {"mlp_only_layers": [0, 1], "num_experts": 12}),
    ("qwen2_moe", {"decoder_sparse_step": 2}),
    ("qwen3_moe", {}),
    ("qwen3_moe", {"head_dim": 128, "num_hidden_layers": 4, "mlp_only_layers": [0]}),
    ("deepseek_v2", {"num_experts_per_tok": 6}),
    ("deepseek_v2", {"num_experts_per_tok": 6, "q_lora_rank": None, "first_k_dense_replace": 1}),
    ("deepseek_v3", {}),
    ("deepseek_v3", MLA | {"num_hidden_layers": 5, "attention_bias": True}),
    ("gpt2", {}),
    ("gpt2", {"n_embd": 96, "n_head": 3, "n_layer": 2, "n_inner": 200}),
    ("gpt2", {"tie_word_embeddings": False}),
    ("gpt_neox", {}),
    ("gpt_neox", SMALL | {"attention_bias": False, "use_parallel_residual": False}),
    ("bert", {}),
    ("bert", SMALL | {"type_vocab_size": 3, "vocab_size": 101}),
    ("esm", {"vocab_size": 33}),
    (
        "esm",
        {"vocab_size": 33, "position_embedding_type": "rotary", "emb_layer_norm_before": True},
    ),
    ("vit", {}),
    ("vit", SMALL | {"patch_size": 8, "image_size": 64, "num_channels": 1, "qkv_bias": False}),
]
HEADS = {"bert": "MaskedLM", "esm": "MaskedLM", "vit": "ImageClassification"}


@pytest.mark.slow  # importing transformers takes more than ten seconds
@pytest.mark.parametrize(("model_type", "changes"), CASES)
def test_parameter_counts_equal_those_of_transformers(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.CONFIG_MAPPING[model_type](**changes)
    kind = getattr(transformers, f"AutoModelFor{HEADS.get(model_type, 'CausalLM')}")
    with torch.device("meta"):
        oracle = kind.from_config(config)
    config.architectures = [type(oracle).__name__]
    config.save_pretrained(tmp_path)

    count = count_parameters(read_hf_config(tmp_path))

    # ESM's contact head reads attention maps of a finished model; it is not part of the training.
    expected = sum(
        math.prod(weight.shape)
        for name, weight in oracle.named_parameters()
        if "contact_head" not in name
    )
    assert count.total - count.mtp == expected
    model = read_hf_config(tmp_path)
    epsilons = {
        getattr(module, "variance_epsilon", getattr(module, "eps", None))
        for module in oracle.modules()
    }
    # transformers' latent attention has 1e-6 written into the norms of its projections.
    assert model.norm_eps in epsilons
    assert epsilons <= {None, model.norm_eps} or model.mla is not None
    assert model.init_std == config.initializer_range


def test_every_family_is_compared() -> None:
    assert {model_type for model_type, _ in CASES} == set(FAMILIES)


SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
LLAMA_3_1 = {
    "model_type": "llama",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "initializer_range": 0.01,
    "rope_scaling": SCALING,
}


def test_rotary_positions_and_norms_are_read(tmp_path: Path) -> None:
    model = read_hf_config(write(tmp_path, LLAMA_3_1))
    assert (model.rope_base, model.norm_eps, model.init_std) == (500_000, 1e-5, 0.01)
    assert model.rope_scaling == find_model("llama3.1-8b").rope_scaling
    newer = LLAMA_3_1 | {"rope_parameters": SCALING | {"rope_theta": 7e5}}
    for key in ("rope_theta", "rope_scaling"):
        del newer[key]
    changed = read_hf_config(write(tmp_path, newer))
    assert changed == model.model_copy(update={"rope_base": 700_000.0})
    neox = read_hf_config(write(tmp_path, {"model_type": "gpt_neox", "rotary_emb_base": 5000}))
    assert (neox.rope_base, neox.rope_fraction) == (5000, 0.25)


def test_an_unknown_rotary_scaling_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}}
    assert read_hf_config(write(tmp_path, config)).rope_scaling is None
    assert "rotary scaling of type 'dynamic' is left out" in caplog.text


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"model_type": "mixtral", "router_aux_loss_coef": 0.02},
            {"load_balancing": "aux-loss", "aux_loss_coefficient": 0.02, "normalize_top_k": True},
        ),
        (
            {"model_type": "qwen3_moe", "router_aux_loss_coef": 0, "norm_topk_prob": True},
            {"load_balancing": "none", "aux_loss_coefficient": 0, "normalize_top_k": True},
        ),
        ({"model_type": "qwen2_moe"}, {"load_balancing": "aux-loss", "normalize_top_k": False}),
        (
            {"model_type": "deepseek_v3"},
            {"router_score": "sigmoid", "routed_scale": 2.5, "n_groups": 8, "top_groups": 4,
             "load_balancing": "sequence-aux-loss", "expert_bias_rate": 0.001},
        ),
        (
            {"model_type": "deepseek_v2", "num_experts_per_tok": 6, "n_group": 8, "topk_group": 3,
             "topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0},
            {"router_score": "softmax", "routed_scale": 16, "n_groups": 8, "top_groups": 3,
             "normalize_top_k": False, "expert_bias_rate": 0},
        ),
    ],
)  # fmt: skip
def test_routing_is_read(config: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    moe = read_hf_config(write(tmp_path, config)).moe
    assert moe is not None
    assert {name: getattr(moe, name) for name in expected} == expected


def write(folder: Path, content: object) -> Path:
    file = folder / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_a_vision_transformer_without_classes_has_no_head(tmp_path: Path) -> None:
    model = read_hf_config(write(tmp_path, {"model_type": "vit", "architectures": ["ViTModel"]}))
    assert model.patches is not None
    assert model.patches.n_classes == 0
    assert model.max_positions == 197
    assert count_parameters(model).head == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json:1: not valid JSON"),
        ("[]", "no model_type in it"),
        ('{"model_type": "llama", "model_type": "gpt2"}', "'model_type' is given twice"),
        ({"model_type": "lama"}, "unknown model_type 'lama'; did you mean llama"),
        ({"model_type": "llama", "hidden_size": "big"}, "hidden_size: must be a whole number"),
        ({"model_type": "llama", "hidden_size": -1}, "hidden_size: must be a whole number"),
        ({"model_type": "llama", "rms_norm_eps": 0}, "rms_norm_eps: must be a positive number"),
        ({"model_type": "llama", "hidden_act": "sin"}, "unknown activation 'sin'"),
        ({"model_type": "llama", "num_key_value_heads": 5}, "not a multiple of n_kv_heads=5"),
        ({"model_type": "deepseek_v2"}, "num_experts_per_tok: is missing"),
        ({"model_type": "qwen2_moe", "mlp_only_layers": [3]}, "mlp_only_layers: only the first"),
        ({"model_type": "esm"}, "vocab_size: is missing"),
        ('{"model_type": "llama", "hidden_size": NaN}', "NaN is not a number"),
        ('{"model_type": "llama", "hidden_size": 1e999}', "number 1e999 is too large"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_configuration_says_what_and_where(
    content: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_hf_config(write(tmp_path, content))
    assert message in str(caught.value)
    assert "config.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: cannot be read: No such file"):
        read_hf_config(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("num_hiden_layers", "num_hidden_layers"),
        ("hiden_size", "hidden_size"),
        ("num_attention_head", "num_attention_heads"),
        ("num_key_value_head", "num_key_value_heads"),
        ("rope_tetha", "rope_theta"),
    ],
)
def test_a_misspelt_key_is_refused(written: str, meant: str, tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA_3_1.items() if key != meant} | {written: 52}
    with pytest.raises(InputError, match=f"unknown key {written}; did you mean {meant}"):
        read_hf_config(write(tmp_path, config))


def test_sizes_that_take_a_default_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_hf_config(write(tmp_path, {"model_type": "llama", "num_attention_heads": 16}))
    assert "num_hidden_layers 32" in caplog.text
    assert "num_attention_heads" not in caplog.text
