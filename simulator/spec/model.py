"""The model: the shape of a network, and nothing about how it is run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from simulator.spec.base import Fraction, Name, NonNegative, Positive, PositiveInt, Spec

LoadBalancing = Literal["none", "aux-loss", "sequence-aux-loss", "global-aux-loss"]


class MoeSpec(Spec):
    """Mixture-of-experts feed-forward layers."""

    n_experts: PositiveInt
    top_k: PositiveInt
    expert_ffn_size: PositiveInt
    """Inner width of one routed expert."""
    n_shared_experts: int = Field(default=0, ge=0)
    """Experts that see every token."""
    shared_expert_ffn_size: int = Field(default=0, ge=0)
    """Inner width of all shared experts together; 0 means n_shared_experts x expert_ffn_size."""
    n_dense_layers: int = Field(default=0, ge=0)
    """Layers at the start that keep an ordinary feed-forward network."""
    layer_period: PositiveInt = 1
    """Every layer_period-th layer (after the dense ones) is a mixture; 1 means all."""
    most_nodes: int = Field(default=0, ge=0)
    """Most nodes that a token is routed to (DeepSeek-V3: 4); 0 means no limit."""
    router_bias: bool = False
    shared_expert_gate: bool = False
    router_score: Literal["softmax", "sigmoid"] = "softmax"
    normalize_top_k: bool = True
    """Whether the weights of the chosen experts are divided by their sum."""
    routed_scale: Positive = 1.0
    """Factor on the sum of the routed experts."""
    n_groups: PositiveInt = 1
    """Groups of experts, of which a token first chooses top_groups."""
    top_groups: PositiveInt = 1
    load_balancing: LoadBalancing | None = None
    """Auxiliary loss for balanced routing: over a microbatch, each sequence or the global batch;
    unset means not known."""
    aux_loss_coefficient: NonNegative = 0.0
    z_loss_coefficient: NonNegative = 0.0
    """Of the squared log-sum of the router's logits."""
    expert_bias_rate: NonNegative = 0.0
    """Step of the bias that balances experts without a loss (arXiv 2408.15664); 0 means no bias."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_k > self.n_experts:
            raise ValueError(f"top_k={self.top_k} exceeds n_experts={self.n_experts}")
        if self.n_experts % self.n_groups or self.top_groups > self.n_groups:
            raise ValueError(
                f"n_groups={self.n_groups} must divide n_experts={self.n_experts}, and "
                f"top_groups={self.top_groups} must not exceed it"
            )
        if self.aux_loss_coefficient and self.load_balancing in (None, "none"):
            raise ValueError(
                f"aux_loss_coefficient={self.aux_loss_coefficient} needs a load_balancing"
            )
        return self

    @property
    def shared_ffn_size(self) -> int:
        """Inner width of the shared experts together."""
        return self.shared_expert_ffn_size or self.n_shared_experts * self.expert_ffn_size


class MlaSpec(Spec):
    """Multi-head latent attention (DeepSeek-V2/V3): low-rank queries, keys and values."""

    q_lora_rank: int = Field(ge=0)
    """0 means full-rank queries."""
    kv_lora_rank: PositiveInt
    qk_nope_head_dim: PositiveInt
    qk_rope_head_dim: PositiveInt
    v_head_dim: PositiveInt


class RopeScaling(Spec):
    """How rotary frequencies are stretched for sequences beyond those of the pretraining.

    References: position interpolation (linear), arXiv 2306.15595; YaRN, arXiv 2309.00071;
    llama3, meta-llama/llama-models models/llama3/model.py.
    """

    kind: Literal["linear", "llama3", "yarn"]
    factor: Positive
    original_positions: PositiveInt = 8192
    low_frequency_factor: Positive = 1.0
    """llama3: wavelengths over original_positions / this are stretched by the whole factor."""
    high_frequency_factor: Positive = 4.0
    """llama3: wavelengths under original_positions / this stay."""
    beta_fast: Positive = 32.0
    """yarn: frequencies with more turns in original_positions stay."""
    beta_slow: Positive = 1.0
    """yarn: frequencies with fewer turns are stretched by the whole factor."""
    mscale: NonNegative = 1.0
    """yarn: how much attention is sharpened with the logarithm of the factor."""
    mscale_all_dim: NonNegative = 0.0
    """yarn: the same for latent attention, in the scale of the softmax."""


class PatchSpec(Spec):
    """The patch embedding of a vision transformer."""

    image_size: PositiveInt
    patch_size: PositiveInt
    n_channels: PositiveInt = 3
    n_classes: int = Field(default=0, ge=0)

    @property
    def n_patches(self) -> int:
        """Patches of one image; the sequence is one longer (class token)."""
        return (self.image_size // self.patch_size) ** 2


class ModelSpec(Spec):
    """A transformer described by its dimensions.

    One layer is attention followed by a feed-forward network (dense or mixture of experts), each
    behind a norm. Everything a parameter count, a FLOP count or a real torch module needs is here.
    """

    name: Name
    kind: Literal["decoder", "encoder", "vit"] = "decoder"
    n_layers: int = Field(ge=1, le=10_000)
    hidden_size: PositiveInt
    n_heads: PositiveInt
    n_kv_heads: PositiveInt
    head_dim: PositiveInt
    """Width of one head; n_heads x head_dim need not equal hidden_size."""
    ffn_size: int = Field(ge=0)
    """Inner width of the dense feed-forward network (0 only where every layer is a mixture)."""
    gated_ffn: bool = True
    """Three matrices (SwiGLU) instead of two."""
    activation: Literal["silu", "gelu", "gelu-tanh", "relu", "relu2"] = "silu"
    vocab_size: int = Field(ge=0)
    max_positions: PositiveInt = 8192
    position: Literal["rope", "learned", "none"] = "rope"
    rope_base: Positive = 10_000.0
    """Base of the rotary frequencies (theta)."""
    rope_fraction: Fraction = 1.0
    """Share of a head's width that is rotated (GPT-NeoX: 0.25)."""
    rope_scaling: RopeScaling | None = None
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_eps: Positive = 1e-5
    """What norms add to the variance."""
    init_std: Positive = 0.02
    """Standard deviation of the initial weights."""
    qkv_bias: bool = False
    attention_out_bias: bool = False
    ffn_bias: bool = False
    qk_norm: bool = False
    parallel_residual: bool = False
    """Attention and feed-forward side by side (GPT-NeoX)."""
    tied_embeddings: bool = False
    n_token_types: int = Field(default=0, ge=0)
    """Segment embeddings (BERT)."""
    embedding_norm: bool = False
    final_norm: bool = True
    lm_head: bool = True
    """Whether there is a language-model head on top."""
    lm_head_transform: bool = False
    """BERT's dense + norm before the head."""
    head_bias: bool = False
    n_mtp_layers: int = Field(default=0, ge=0)
    """Multi-token-prediction layers after the last one (DeepSeek-V3)."""
    sliding_window: int = Field(default=0, ge=0)
    """Tokens a position can look back at; 0 means all."""
    moe: MoeSpec | None = None
    mla: MlaSpec | None = None
    patches: PatchSpec | None = None
    source: str = ""
    """Where the dimensions come from."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}"
            )
        if self.moe is None and self.ffn_size == 0:
            raise ValueError("ffn_size=0 needs a moe section")
        if self.kind == "vit" and self.patches is None:
            raise ValueError("kind=vit needs a patches section")
        if self.kind != "vit" and self.vocab_size == 0:
            raise ValueError(f"kind={self.kind} needs vocab_size > 0")
        if self.moe is not None and self.moe.n_dense_layers > self.n_layers:
            raise ValueError(
                f"n_dense_layers={self.moe.n_dense_layers} exceeds n_layers={self.n_layers}"
            )
        return self

    @property
    def causal(self) -> bool:
        """Whether a position sees only earlier ones."""
        return self.kind == "decoder"

    @property
    def q_size(self) -> int:
        """Width of all queries together."""
        return self.n_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all keys (or values) together."""
        return self.n_kv_heads * self.head_dim

    def is_moe_layer(self, layer: int) -> bool:
        """Return whether layer `layer` (from 0) is a mixture of experts."""
        moe = self.moe
        if moe is None or layer < moe.n_dense_layers:
            return False
        return (layer - moe.n_dense_layers) % moe.layer_period == moe.layer_period - 1

    @property
    def n_moe_layers(self) -> int:
        """How many of the layers are mixtures."""
        return sum(self.is_moe_layer(layer) for layer in range(self.n_layers))
