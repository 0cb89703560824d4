"""Megatron-LM: the flags that describe a model.

References
----------
NVIDIA/Megatron-LM: megatron/core/transformer/transformer_config.py, megatron/training/arguments.py.
"""

from __future__ import annotations

from simulator.catalog import software_of
from simulator.cost.plan_table import PlanTable
from simulator.cost.setting import expert_tp
from simulator.spec.errors import InputError
from simulator.spec.model import MlaSpec, ModelSpec, MoeSpec
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario

_BALANCE = {
    "none": "none",
    "aux-loss": "aux_loss",
    "sequence-aux-loss": "seq_aux_loss",
    "global-aux-loss": "global_aux_loss",
}
_ACTIVATION: dict[tuple[str, bool], tuple[str, ...]] = {
    ("silu", True): ("--swiglu",),
    ("gelu", False): (),
    ("gelu-tanh", False): (),
    ("relu2", False): ("--squared-relu",),
}
"""Activation, and whether a gate multiplies it."""


def require_possible(scenario: Scenario) -> None:
    """Refuse models that Megatron's flags cannot describe."""
    model, moe = scenario.model, scenario.model.moe
    rules = (
        (
            (model.activation, model.gated_ffn) in _ACTIVATION,
            f"activation {model.activation} {'with' if model.gated_ffn else 'without'} a gate",
        ),
        (model.position != "none", "a model without positions"),
        (
            model.position == "rope" or scenario.job.sequence_length <= model.max_positions,
            f"sequence_length={scenario.job.sequence_length} with {model.max_positions} learned "
            "positions",
        ),
        (not model.parallel_residual, "attention and feed-forward side by side"),
        (model.attention_out_bias == model.ffn_bias, "biases in attention or feed-forward alone"),
        (model.qkv_bias or not model.ffn_bias, "feed-forward biases without those of q, k and v"),
        (not (model.embedding_norm or model.head_bias or model.lm_head_transform), "such a head"),
        (model.final_norm and model.lm_head, "a model without its final norm or head"),
        (moe is None or not moe.router_bias, "a router with biases"),
        (not model.n_token_types, "token types"),
        (model.patches is None, "a patch embedding"),
        (model.rope_base.is_integer(), f"a rotary base that is not whole: {model.rope_base}"),
        *_rope_rules(model),
    )
    for allowed, what in rules:
        if not allowed:
            raise InputError(f"megatron cannot express {what} ({model.name})", where="--to")


def _rope_rules(model: ModelSpec) -> tuple[tuple[bool, str], ...]:
    """Return what Megatron's flags can say of rotary scaling: llama3's, and YaRN with MLA."""
    scaling = model.rope_scaling
    if scaling is None:
        return ()
    llama3 = ("llama3", 1.0, 4.0, 8192)
    given = (
        scaling.kind,
        scaling.low_frequency_factor,
        scaling.high_frequency_factor,
        scaling.original_positions,
    )
    yarn = (scaling.beta_fast, scaling.beta_slow, scaling.original_positions) == (32, 1, 4096)
    return (
        (scaling.kind != "llama3" or given == llama3, f"rotary scaling {given}, only {llama3}"),
        (scaling.kind != "linear" or scaling.factor.is_integer(), "a broken linear rotary factor"),
        (scaling.kind != "yarn" or model.mla is not None, "YaRN without latent attention"),
        (
            scaling.kind != "yarn" or yarn,
            "YaRN with other than beta 32 and 1 and 4096 original positions",
        ),
    )


def _model(scenario: Scenario) -> list[object]:
    model = scenario.model
    words: list[object] = [
        "--num-layers",
        model.n_layers,
        "--hidden-size",
        model.hidden_size,
        "--num-attention-heads",
        model.n_heads,
        "--kv-channels",
        model.head_dim,
        "--ffn-hidden-size",
        model.ffn_size or (model.moe.expert_ffn_size if model.moe else 0),
        "--max-position-embeddings",
        max(model.max_positions, scenario.job.sequence_length),
        "--normalization",
        {"rmsnorm": "RMSNorm", "layernorm": "LayerNorm"}[model.norm],
        "--norm-epsilon",
        model.norm_eps,
        "--init-method-std",
        model.init_std,
        "--position-embedding-type",
        {"rope": "rope", "learned": "learned_absolute"}[model.position],
        "--attention-dropout",
        scenario.job.dropout,
        "--hidden-dropout",
        scenario.job.dropout,
    ]
    words += _rope(model) if model.position == "rope" else []
    if model.n_kv_heads != model.n_heads and model.mla is None:
        words += ["--group-query-attention", "--num-query-groups", model.n_kv_heads]
    if model.sliding_window:
        words += ["--window-size", f"{model.sliding_window - 1},0"]
    if model.n_mtp_layers:
        words += ["--mtp-num-layers", model.n_mtp_layers]
    words += _ACTIVATION[model.activation, model.gated_ffn]
    words += ["--attention-backend", "unfused"] * (scenario.job.attention == "unfused")
    words += ["--disable-bias-linear"] * (not model.ffn_bias)
    words += ["--add-qkv-bias"] * model.qkv_bias
    words += ["--qk-layernorm"] * model.qk_norm
    words += ["--untie-embeddings-and-output-weights"] * (not model.tied_embeddings)
    return words


def _rope(model: ModelSpec) -> list[object]:
    words: list[object] = ["--rotary-base", int(model.rope_base)]
    words += ["--rotary-percent", model.rope_fraction] if model.rope_fraction != 1 else []
    scaling = model.rope_scaling
    if scaling is None:
        return words + (["--rope-type", "rope", "--no-rope-fusion"] if model.mla else [])
    if scaling.kind == "llama3":
        return [*words, "--use-rope-scaling", "--rope-scaling-factor", scaling.factor]
    if scaling.kind == "linear":
        return [*words, "--rotary-seq-len-interpolation-factor", int(scaling.factor)]
    words += ["--rope-type", "yarn", "--rotary-scaling-factor", scaling.factor]
    return [*words, "--mscale", scaling.mscale, "--mscale-all-dim", scaling.mscale_all_dim]


def _router(moe: MoeSpec) -> list[object]:
    """Return how experts are chosen and balanced."""
    words: list[object] = ["--moe-router-score-function", moe.router_score]
    words += ["--moe-router-pre-softmax"] * (not moe.normalize_top_k)
    if moe.routed_scale != 1:
        words += ["--moe-router-topk-scaling-factor", moe.routed_scale]
    if moe.n_groups > 1:
        words += ["--moe-router-num-groups", moe.n_groups]
        words += ["--moe-router-group-topk", moe.top_groups]
    if moe.load_balancing is not None:
        words += ["--moe-router-load-balancing-type", _BALANCE[moe.load_balancing]]
        words += ["--moe-aux-loss-coeff", moe.aux_loss_coefficient]
    words += ["--moe-z-loss-coeff", moe.z_loss_coefficient] * (moe.z_loss_coefficient > 0)
    if moe.expert_bias_rate:
        words += ["--moe-router-enable-expert-bias"]
        words += ["--moe-router-bias-update-rate", moe.expert_bias_rate]
    return words


def experts_tp(scenario: Scenario, plan: PlanSpec) -> int:
    """Return the tensor-parallel ranks that divide each expert, as the plan is priced."""
    software = software_of(scenario.job)
    return int(expert_tp(software, PlanTable.of([plan]))[0])


def _moe(moe: MoeSpec, n_layers: int, ep: int, inner_tp: int) -> list[object]:
    words: list[object] = [
        "--num-experts",
        moe.n_experts,
        "--moe-router-topk",
        moe.top_k,
        "--moe-ffn-hidden-size",
        moe.expert_ffn_size,
        "--expert-model-parallel-size",
        ep,
        "--expert-tensor-parallel-size",
        inner_tp,
        "--moe-token-dispatcher-type",
        "alltoall",
        "--moe-grouped-gemm",
        *_router(moe),
    ]
    if moe.shared_ffn_size:
        words += ["--moe-shared-expert-intermediate-size", moe.shared_ffn_size]
        words += ["--moe-shared-expert-gate"] * moe.shared_expert_gate
    if moe.n_dense_layers or moe.layer_period > 1:
        mixed = n_layers - moe.n_dense_layers
        period = [int(at % moe.layer_period == moe.layer_period - 1) for at in range(mixed)]
        words += ["--moe-layer-freq", str([0] * moe.n_dense_layers + period).replace(" ", "")]
    return words


def _mla(mla: MlaSpec) -> list[object]:
    words: list[object] = ["--multi-latent-attention", "--kv-lora-rank", mla.kv_lora_rank]
    words += ["--q-lora-rank", mla.q_lora_rank] if mla.q_lora_rank else []
    words += ["--qk-head-dim", mla.qk_nope_head_dim]
    words += ["--qk-pos-emb-head-dim", mla.qk_rope_head_dim, "--v-head-dim", mla.v_head_dim]
    return words


def model_words(scenario: Scenario, plan: PlanSpec) -> list[object]:
    """Return the flags of a model and their values."""
    model = scenario.model
    words = _model(scenario)
    if model.moe:
        words += _moe(model.moe, model.n_layers, plan.ep, experts_tp(scenario, plan))
    words += _mla(model.mla) if model.mla else []
    return words
