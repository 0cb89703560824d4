"""A decoder-only transformer from a ModelSpec: Llama, GPT, NeoX and Qwen shapes.

The module knows no parallelism and no precision. A `Transformer` is one chunk of the model: the
layers `first_layer` .. `first_layer + n_layers`, the embedding if it is the first chunk, the final
norm, head and loss if it is the last. Names are those of the whole model in every chunk, so that
initial weights and checkpoints do not depend on the plan.

Shapes in names: B sequences, T tokens, D hidden size, H heads held here, K head width, V entries of
the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.model.rope import Rope, rotate
from simulator.spec.model import ModelSpec

TIED_WEIGHT = "embedding.tokens.weight"
"""The name of the weight that a tied embedding and head share."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of consecutive layers, and whether the ends of the model belong to it."""

    first_layer: int
    n_layers: int
    is_first: bool
    is_last: bool


def whole_model(spec: ModelSpec) -> Chunk:
    """Return the chunk that is the whole model."""
    return Chunk(first_layer=0, n_layers=spec.n_layers, is_first=True, is_last=True)


def _norm(spec: ModelSpec, size: int) -> nn.Module:
    if spec.norm == "rmsnorm":
        return nn.RMSNorm(size, eps=spec.norm_eps)
    return nn.LayerNorm(size, eps=spec.norm_eps)


def _squared_relu(x: Tensor) -> Tensor:
    return functional.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "relu2": _squared_relu,
}


class Attention(nn.Module):
    """Causal self-attention with grouped key-value heads.

    Heads are counted from what the projections return, so a projection may hold a share of them.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.head_dim = spec.head_dim
        self.window = spec.sliding_window
        self.rope = Rope(spec) if spec.position == "rope" else None
        self.wq = nn.Linear(spec.hidden_size, spec.q_size, bias=spec.qkv_bias)
        self.wk = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.wv = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.wo = nn.Linear(spec.q_size, spec.hidden_size, bias=spec.attention_out_bias)
        self.q_norm = _norm(spec, spec.head_dim) if spec.qk_norm else nn.Identity()
        self.k_norm = _norm(spec, spec.head_dim) if spec.qk_norm else nn.Identity()

    def _mask(self, n_tokens: int, device: torch.device) -> Tensor | None:
        if not 0 < self.window < n_tokens:
            return None
        position = torch.arange(n_tokens, device=device)
        distance = position.unsqueeze(1) - position
        return (distance >= 0) & (distance < self.window)

    def forward(self, x_BTD: Tensor) -> Tensor:
        n_tokens = x_BTD.shape[1]
        q_BTHK = self.q_norm(self.wq(x_BTD).unflatten(-1, (-1, self.head_dim)))
        k_BTHK = self.k_norm(self.wk(x_BTD).unflatten(-1, (-1, self.head_dim)))
        v_BTHK = self.wv(x_BTD).unflatten(-1, (-1, self.head_dim))
        if self.rope is not None:
            tables = self.rope.tables(n_tokens, x_BTD.device)
            q_BTHK, k_BTHK = rotate(q_BTHK, tables), rotate(k_BTHK, tables)
        mask = self._mask(n_tokens, x_BTD.device)
        out_BHTK = functional.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2),
            k_BTHK.transpose(1, 2),
            v_BTHK.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=q_BTHK.shape[2] != k_BTHK.shape[2],
        )
        out: Tensor = self.wo(out_BHTK.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    """Two matrices around an activation, or three (gated, SwiGLU)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = nn.Linear(spec.hidden_size, spec.ffn_size, bias=spec.ffn_bias)
        self.gate = (
            nn.Linear(spec.hidden_size, spec.ffn_size, bias=spec.ffn_bias)
            if spec.gated_ffn
            else None
        )
        self.down = nn.Linear(spec.ffn_size, spec.hidden_size, bias=spec.ffn_bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.gate is None:
            inner = self.activation(self.up(x_BTD))
        else:
            inner = self.activation(self.gate(x_BTD)) * self.up(x_BTD)
        out: Tensor = self.down(inner)
        return out


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.parallel_residual = spec.parallel_residual
        self.attention_norm = _norm(spec, spec.hidden_size)
        self.attention = Attention(spec)
        self.ffn_norm = _norm(spec, spec.hidden_size)
        self.ffn = FeedForward(spec)

    def forward(self, x_BTD: Tensor) -> Tensor:
        h_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        out: Tensor = h_BTD + self.ffn(self.ffn_norm(x_BTD if self.parallel_residual else h_BTD))
        return out


class Embedding(nn.Module):
    """Token embedding, plus learned positions and a norm where the model has them."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.tokens = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.positions = (
            nn.Embedding(spec.max_positions, spec.hidden_size)
            if spec.position == "learned"
            else None
        )
        self.norm = _norm(spec, spec.hidden_size) if spec.embedding_norm else nn.Identity()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            position_1T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device).unsqueeze(0)
            x_BTD = x_BTD + self.positions(position_1T)
        out: Tensor = self.norm(x_BTD)
        return out


class Loss(nn.Module):
    """Mean cross entropy of the next token."""

    def forward(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        return functional.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten())


class Transformer(nn.Module):
    """One chunk of the model; the whole of it when the chunk is `whole_model`."""

    def __init__(self, spec: ModelSpec, chunk: Chunk) -> None:
        super().__init__()
        self.chunk = chunk
        self.embedding = Embedding(spec) if chunk.is_first else None
        self.layers = nn.ModuleDict(
            {
                str(layer): Block(spec)
                for layer in range(chunk.first_layer, chunk.first_layer + chunk.n_layers)
            }
        )
        has_norm = chunk.is_last and spec.final_norm
        self.norm = _norm(spec, spec.hidden_size) if has_norm else nn.Identity()
        self.head = (
            nn.Linear(spec.hidden_size, spec.vocab_size, bias=spec.head_bias)
            if chunk.is_last
            else None
        )
        self.tied = spec.tied_embeddings
        if self.head is not None and self.embedding is not None and self.tied:
            self.head.weight = self.embedding.tokens.weight
        self.loss = Loss()
        self.compute_dtype = torch.float32
        """Format of the activations between layers."""

    def blocks(self) -> list[Block]:
        """Return the layers of this chunk, in order."""
        return [layer for layer in self.layers.values() if isinstance(layer, Block)]

    def named_weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield every parameter under its name in the whole model.

        A head tied to an embedding in another chunk goes by the embedding's name.
        """
        for name, parameter in self.named_parameters():
            if name == "head.weight" and self.tied:
                yield TIED_WEIGHT, parameter
            else:
                yield name, parameter

    def forward(self, x: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        """Return the activations (B, T, D) for the next chunk, or the mean loss of the last one.

        The first chunk takes tokens (B, T), the others take activations.
        """
        if self.embedding is not None:
            x = self.embedding(x).to(self.compute_dtype)
        for layer in self.layers.values():
            x = layer(x)
        if self.head is None:
            return x
        assert targets_BT is not None, "the last chunk needs targets"
        loss: Tensor = self.loss(self.head(self.norm(x)), targets_BT)
        return loss
