"""Where the weights of a model lie in the files of its Hugging Face family, and in which layout.

The names are those of transformers 5.24 as it saves them
(huggingface/transformers: src/transformers/models/*/modeling_*.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.spec.errors import InputError
from simulator.spec.model import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pairs:
    """Outputs of heads, of which the last ones of each are turned by positions, pair by pair."""

    n_heads: int
    n_turned: int

    def apart(self, weight: Tensor) -> Tensor:
        """Return a weight with the pairs a half apart."""
        kept, turned = self._split(weight)
        order = [*range(0, self.n_turned, 2), *range(1, self.n_turned, 2)]
        return self._whole(kept, turned[:, order])

    def side_by_side(self, weight: Tensor) -> Tensor:
        """Return a weight with the pairs side by side."""
        kept, turned = self._split(weight)
        half = self.n_turned // 2
        order = [
            place for pair in zip(range(half), range(half, 2 * half), strict=True) for place in pair
        ]
        return self._whole(kept, turned[:, order])

    def _whole(self, kept: Tensor, turned: Tensor) -> Tensor:
        heads = turned.new_empty((self.n_heads, kept.shape[1] + self.n_turned, *kept.shape[2:]))
        heads[:, : kept.shape[1]], heads[:, kept.shape[1] :] = kept, turned
        return heads.flatten(0, 1)

    def _split(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        heads = weight.reshape(self.n_heads, -1, *weight.shape[1:])
        return heads[:, : -self.n_turned], heads[:, -self.n_turned :]


@dataclass(frozen=True, slots=True)
class Place:
    """A weight, or one expert of it, in a tensor of a file."""

    tensor: str
    part: int = 0
    n_parts: int = 1
    """Parts of equal size that the tensor joins along its outputs."""
    transposed: bool = False
    """Whether matrices are (inputs, outputs)."""
    pairs: Pairs | None = None
    """Outputs whose rotated pairs lie side by side there, and a half apart with us."""


@dataclass(frozen=True, slots=True)
class Family:
    """The words of one model_type."""

    model_type: str
    ends: dict[str, str]
    """Outside of the layers; what is left out, the family does not have."""
    layer: str
    """What names of a layer begin with; its number goes into the braces."""
    modules: dict[str, str]
    """Within a layer."""
    experts: dict[str, str]
    """Matrices of routed experts; their numbers go into the braces."""
    fused_qkv: str = ""
    """The one module of all three projections, where there is one."""
    transposed: frozenset[str] = frozenset()


_ENDS = {
    "embedding.tokens": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
}
_ATTENTION = {
    "attention_norm": "input_layernorm",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
}
_DENSE = {"ffn.gate": "mlp.gate_proj", "ffn.up": "mlp.up_proj", "ffn.down": "mlp.down_proj"}
_QWEN_MIXTURE = {
    "ffn.router.scores": "mlp.gate",
    "ffn.shared.gate": "mlp.shared_expert.gate_proj",
    "ffn.shared.up": "mlp.shared_expert.up_proj",
    "ffn.shared.down": "mlp.shared_expert.down_proj",
    "ffn.shared_gate": "mlp.shared_expert_gate",
}
_QWEN_EXPERTS = {
    "ffn.experts.gate": "mlp.experts.{}.gate_proj.weight",
    "ffn.experts.up": "mlp.experts.{}.up_proj.weight",
    "ffn.experts.down": "mlp.experts.{}.down_proj.weight",
}
_DEEPSEEK = {
    "attention.wq_a": "self_attn.q_a_proj",
    "attention.q_a_norm": "self_attn.q_a_layernorm",
    "attention.wkv_a": "self_attn.kv_a_proj_with_mqa",
    "attention.kv_a_norm": "self_attn.kv_a_layernorm",
    "attention.wkv": "self_attn.kv_b_proj",
    "ffn.router.scores": "mlp.gate",
    "ffn.shared.gate": "mlp.shared_experts.gate_proj",
    "ffn.shared.up": "mlp.shared_experts.up_proj",
    "ffn.shared.down": "mlp.shared_experts.down_proj",
}
_GPT2_MATRICES = {
    "attention.wo": "attn.c_proj",
    "ffn.up": "mlp.c_fc",
    "ffn.down": "mlp.c_proj",
}


def _llama_like(
    model_type: str, mixture: dict[str, str] | None = None, experts: dict[str, str] | None = None
) -> Family:
    modules = _ATTENTION | _DENSE | (mixture or {})
    return Family(model_type, _ENDS, "model.layers.{}.", modules, experts or {})


FAMILIES = {
    family.model_type: family
    for family in (
        _llama_like("llama"),
        _llama_like("mistral"),
        _llama_like("qwen2"),
        _llama_like("qwen3"),
        _llama_like(
            "mixtral",
            {"ffn.router.scores": "block_sparse_moe.gate"},
            {
                "ffn.experts.gate": "block_sparse_moe.experts.{}.w1.weight",
                "ffn.experts.up": "block_sparse_moe.experts.{}.w3.weight",
                "ffn.experts.down": "block_sparse_moe.experts.{}.w2.weight",
            },
        ),
        _llama_like("qwen2_moe", _QWEN_MIXTURE, _QWEN_EXPERTS),
        _llama_like("qwen3_moe", _QWEN_MIXTURE, _QWEN_EXPERTS),
        _llama_like("deepseek_v2", _DEEPSEEK, _QWEN_EXPERTS),
        Family(
            "gpt2",
            {
                "embedding.tokens": "transformer.wte",
                "embedding.positions": "transformer.wpe",
                "norm": "transformer.ln_f",
                "head": "lm_head",
            },
            "transformer.h.{}.",
            _GPT2_MATRICES | {"attention_norm": "ln_1", "ffn_norm": "ln_2"},
            {},
            fused_qkv="attn.c_attn",
            transposed=frozenset(_GPT2_MATRICES),
        ),
    )
}

_TURNED = {"attention.wq": "self_attn.q_b_proj", "attention.wkv_a": "self_attn.kv_a_proj_with_mqa"}
"""Modules of latent attention some of whose outputs are turned by positions."""

_QKV = ("attention.wq", "attention.wk", "attention.wv")


def family_of(spec: ModelSpec) -> Family:
    """Return the family that has models of such a shape. Raises InputError where none has."""
    moe = spec.moe
    if spec.mla is not None:
        kind = "deepseek_v2"
    elif moe is not None:
        kind = "qwen3_moe" if spec.qk_norm else "qwen2_moe" if moe.shared_ffn_size else "mixtral"
    elif spec.position == "learned":
        kind = "gpt2"
    elif spec.sliding_window:
        kind = "mistral"
    else:
        kind = "qwen3" if spec.qk_norm else "qwen2" if _has_qwen2_biases(spec) else "llama"
    if not _LIKE[kind].items() <= _traits(spec).items():
        raise InputError(
            f"{spec.name} is like no model of {', '.join(FAMILIES)}",
            where="run.init_from",
            fix="such models have no files of Hugging Face that could be read or written",
        )
    return FAMILIES[kind]


def _has_qwen2_biases(spec: ModelSpec) -> bool:
    return spec.qkv_bias and not spec.attention_out_bias


_PLAIN_ROUTER = (False, "softmax", 1.0)
"""No biases, how scores become weights, and the factor on their sum."""


def _traits(spec: ModelSpec) -> dict[str, object]:
    """Return what a shape must have in common with its family."""
    moe = spec.moe
    scale = None if spec.mla or moe is None else moe.routed_scale
    router = (moe.router_bias, moe.router_score, scale) if moe else _PLAIN_ROUTER
    return {
        "kind": spec.kind,
        "latent": spec.mla is not None,
        "norm": spec.norm,
        "gated": spec.gated_ffn,
        "position": spec.position,
        "parallel": spec.parallel_residual,
        "router": router,
        "ends": (spec.embedding_norm, spec.final_norm, spec.head_bias, spec.lm_head),
    }


_ROTARY = {
    "kind": "decoder",
    "latent": False,
    "norm": "rmsnorm",
    "gated": True,
    "position": "rope",
    "parallel": False,
    "router": _PLAIN_ROUTER,
    "ends": (False, True, False, True),
}
_LIKE = dict.fromkeys(FAMILIES, _ROTARY) | {
    "deepseek_v2": _ROTARY | {"latent": True, "router": (False, "softmax", None)},
    "gpt2": _ROTARY | {"norm": "layernorm", "gated": False, "position": "learned"},
}


def places_of(weight: str, spec: ModelSpec, family: Family) -> tuple[Place, ...]:
    """Return where a weight of ours lies: one place, or one for each expert.

    Raises InputError for a weight that the family does not have.
    """
    found = re.fullmatch(r"layers\.(\d+)\.(.*)", weight)
    name, start = (weight, "") if found is None else (found[2], family.layer.format(found[1]))
    if name in family.experts:
        assert spec.moe is not None
        return tuple(
            Place(start + family.experts[name].format(expert))
            for expert in range(spec.moe.n_experts)
        )
    module, _, kind = name.rpartition(".")
    if family.fused_qkv and module in _QKV:
        fused = f"{start}{family.fused_qkv}.{kind}"
        return (Place(fused, _QKV.index(module), 3, transposed=True),)
    if spec.mla is not None and module in _TURNED:
        n_heads = spec.n_heads if module == "attention.wq" else 1
        whole_rank = module == "attention.wq" and not spec.mla.q_lora_rank
        latent = "self_attn.q_proj" if whole_rank else _TURNED[module]
        pairs = Pairs(n_heads, spec.mla.qk_rope_head_dim)
        return (Place(f"{start}{latent}.{kind}", pairs=pairs),)
    theirs = (family.modules if start else family.ends).get(module)
    if theirs is None:
        raise InputError(
            f"models of {family.model_type} have no {weight}", where=f"model {spec.name}"
        )
    return (Place(f"{start}{theirs}.{kind}", transposed=module in family.transposed),)
