"""Self-attention: grouped heads (Llama, GPT, NeoX, Qwen), and heads from latents (DeepSeek).

Shapes in names: see `runtime.model.transformer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.model.rope import Positions, Rope, consecutive, rotate
from simulator.spec.model import MlaSpec, ModelSpec


def norm_of(spec: ModelSpec, size: int) -> nn.Module:
    """Return a norm of the model's kind."""
    if spec.norm == "rmsnorm":
        return nn.RMSNorm(size, eps=spec.norm_eps)
    return nn.LayerNorm(size, eps=spec.norm_eps)


class Heads(NamedTuple):
    """What attends to what, each (B, T, heads, width)."""

    q: Tensor
    k: Tensor
    v: Tensor


class SelfAttention(nn.Module, ABC):
    """Causal attention of some heads, which the kinds below make."""

    def __init__(self, spec: ModelSpec, out_size: int) -> None:
        super().__init__()
        self.window = spec.sliding_window
        self.rope = Rope(spec) if spec.position == "rope" else None
        self.wo = nn.Linear(out_size, spec.hidden_size, bias=spec.attention_out_bias)
        self.positions: Positions = consecutive
        self.attend: Callable[[Tensor, Tensor, Tensor], Tensor] = self._attend_to_all
        """From queries, keys and values (B, H, T, K) to results."""

    def _mask(self, n_tokens: int, device: torch.device) -> Tensor | None:
        if not 0 < self.window < n_tokens:
            return None
        position = torch.arange(n_tokens, device=device)
        distance = position.unsqueeze(1) - position
        return (distance >= 0) & (distance < self.window)

    @abstractmethod
    def heads(self, x_BTD: Tensor) -> Heads:
        """Return queries, keys and values, turned by their positions."""

    def turned(self, *heads_BTHK: Tensor) -> tuple[Tensor, ...]:
        """Return heads turned by the positions of their tokens, where the model turns them."""
        if self.rope is None:
            return heads_BTHK
        first = heads_BTHK[0]
        tables = self.rope.tables(self.positions(first.shape[1], first.device))
        return tuple(rotate(each, tables) for each in heads_BTHK)

    def forward(self, x_BTD: Tensor) -> Tensor:
        heads = self.heads(x_BTD)
        out_BHTK = self.attend(*(each.transpose(1, 2) for each in heads))
        out: Tensor = self.wo(out_BHTK.transpose(1, 2).flatten(-2))
        return out

    def _attend_to_all(self, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
        mask = self._mask(q_BHTK.shape[2], q_BHTK.device)
        return functional.scaled_dot_product_attention(
            q_BHTK,
            k_BHTK,
            v_BHTK,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=q_BHTK.shape[1] != k_BHTK.shape[1],
        )


class Attention(SelfAttention):
    """Grouped heads of keys and values.

    Heads are counted from what the projections return, so a projection may hold a share of them.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, spec.q_size)
        self.head_dim = spec.head_dim
        self.wq = nn.Linear(spec.hidden_size, spec.q_size, bias=spec.qkv_bias)
        self.wk = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.wv = nn.Linear(spec.hidden_size, spec.kv_size, bias=spec.qkv_bias)
        self.q_norm = norm_of(spec, spec.head_dim) if spec.qk_norm else nn.Identity()
        self.k_norm = norm_of(spec, spec.head_dim) if spec.qk_norm else nn.Identity()

    def heads(self, x_BTD: Tensor) -> Heads:
        q_BTHK = self.q_norm(self.wq(x_BTD).unflatten(-1, (-1, self.head_dim)))
        k_BTHK = self.k_norm(self.wk(x_BTD).unflatten(-1, (-1, self.head_dim)))
        v_BTHK = self.wv(x_BTD).unflatten(-1, (-1, self.head_dim))
        q_BTHK, k_BTHK = self.turned(q_BTHK, k_BTHK)
        return Heads(q_BTHK, k_BTHK, v_BTHK)


class LatentAttention(SelfAttention):
    """Queries, and keys with values, that come from a narrow latent vector each.

    A part of every query and key carries the position; that of the keys is one for all heads.
    References: DeepSeek-V2, arXiv:2405.04434, section 2.1 and equations 37 to 47.
    """

    def __init__(self, spec: ModelSpec, mla: MlaSpec) -> None:
        super().__init__(spec, spec.n_heads * mla.v_head_dim)
        self.mla = mla
        q_size = spec.n_heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
        kv_size = spec.n_heads * (mla.qk_nope_head_dim + mla.v_head_dim)
        has_latent = mla.q_lora_rank > 0
        self.wq_a = (
            nn.Linear(spec.hidden_size, mla.q_lora_rank, bias=spec.qkv_bias)
            if has_latent
            else nn.Identity()
        )
        self.q_a_norm = norm_of(spec, mla.q_lora_rank) if has_latent else nn.Identity()
        self.wq = nn.Linear(mla.q_lora_rank or spec.hidden_size, q_size, bias=False)
        self.wkv_a = nn.Linear(
            spec.hidden_size, mla.kv_lora_rank + mla.qk_rope_head_dim, bias=spec.qkv_bias
        )
        self.kv_a_norm = norm_of(spec, mla.kv_lora_rank)
        self.wkv = nn.Linear(mla.kv_lora_rank, kv_size, bias=False)

    def heads(self, x_BTD: Tensor) -> Heads:
        mla = self.mla
        q_BTHK = self.wq(self.q_a_norm(self.wq_a(x_BTD))).unflatten(
            -1, (-1, mla.qk_nope_head_dim + mla.qk_rope_head_dim)
        )
        latent, k_turned = self.wkv_a(x_BTD).split([mla.kv_lora_rank, mla.qk_rope_head_dim], -1)
        kv_BTHK = self.wkv(self.kv_a_norm(latent)).unflatten(
            -1, (-1, mla.qk_nope_head_dim + mla.v_head_dim)
        )
        k_kept, v_BTHK = kv_BTHK.split([mla.qk_nope_head_dim, mla.v_head_dim], -1)
        q_kept, q_turned = q_BTHK.split([mla.qk_nope_head_dim, mla.qk_rope_head_dim], -1)
        q_turned, k_turned = self.turned(q_turned, k_turned.unsqueeze(2))
        k_turned = k_turned.expand(*k_kept.shape[:-1], -1)
        return Heads(torch.cat((q_kept, q_turned), -1), torch.cat((k_kept, k_turned), -1), v_BTHK)
