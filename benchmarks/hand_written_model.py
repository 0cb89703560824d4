"""A Llama-style decoder as one writes it for a single job: nothing but torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulator.spec.model import ModelSpec


class Layer(nn.Module):
    """Attention and gated feed-forward network, each behind a norm."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, self.head_dim = spec.hidden_size, spec.head_dim
        self.attention_norm, self.ffn_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q = nn.Linear(width, spec.q_size, bias=False)
        self.k = nn.Linear(width, spec.kv_size, bias=False)
        self.v = nn.Linear(width, spec.kv_size, bias=False)
        self.o = nn.Linear(spec.q_size, width, bias=False)
        self.gate = nn.Linear(width, spec.ffn_size, bias=False)
        self.up = nn.Linear(width, spec.ffn_size, bias=False)
        self.down = nn.Linear(spec.ffn_size, width, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.attention_norm(x)
        q, k, v = self.heads(self.q(y)), self.heads(self.k(y)), self.heads(self.v(y))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).flatten(-2))
        y = self.ffn_norm(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


class Llama(nn.Module):
    """The whole model, down to the loss."""

    cos: Tensor
    sin: Tensor

    def __init__(self, spec: ModelSpec, n_positions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.n_layers))
        self.norm = nn.RMSNorm(spec.hidden_size)
        self.head = nn.Linear(spec.hidden_size, spec.vocab_size, bias=False)
        half = torch.arange(0, spec.head_dim, 2) / spec.head_dim
        angles = torch.outer(torch.arange(n_positions), 10_000.0**-half).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
