"""A decoder-only transformer from a ModelSpec: Llama, GPT, NeoX, Qwen and Mixtral shapes.

The module knows no parallelism and no precision. A `Transformer` is one chunk of the model: the
layers `first_layer` .. `first_layer + n_layers`, the embedding if it is the first chunk, the final
norm, head and loss if it is the last. Names are those of the whole model in every chunk, so that
initial weights and checkpoints do not depend on the plan.

Shapes in names: B sequences, T tokens, D hidden size, H heads held here, K head width, V entries of
the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.model.attention import Attention, LatentAttention, norm_of
from runtime.model.feed_forward import FeedForward
from runtime.model.mixture import Mixture
from runtime.model.rope import Positions, consecutive
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


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, spec: ModelSpec, layer: int, batch_share: float) -> None:
        super().__init__()
        self.parallel_residual = spec.parallel_residual
        self.attention_norm = norm_of(spec, spec.hidden_size)
        self.attention = LatentAttention(spec, spec.mla) if spec.mla else Attention(spec)
        self.ffn_norm = norm_of(spec, spec.hidden_size)
        self.ffn = (
            Mixture(spec, spec.moe, batch_share)
            if spec.moe is not None and spec.is_moe_layer(layer)
            else FeedForward(spec, spec.ffn_size)
        )

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
        self.norm = norm_of(spec, spec.hidden_size) if spec.embedding_norm else nn.Identity()
        self.positions_of: Positions = consecutive

    def forward(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            positions_T = self.positions_of(tokens_BT.shape[1], tokens_BT.device)
            x_BTD = x_BTD + self.positions(positions_T.unsqueeze(0))
        out: Tensor = self.norm(x_BTD)
        return out


class Loss(nn.Module):
    """Mean cross entropy of the next token, times the share of the batch that a pass is."""

    def __init__(self, batch_share: float) -> None:
        super().__init__()
        self.batch_share = batch_share

    def forward(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        logits, targets = logits_BTV.flatten(0, 1).float(), targets_BT.flatten()
        return functional.cross_entropy(logits, targets) * self.batch_share


class Transformer(nn.Module):
    """One chunk of the model; the whole of it when the chunk is `whole_model`.

    `batch_share` is the share of a batch that one pass is, by which losses are multiplied.
    """

    def __init__(self, spec: ModelSpec, chunk: Chunk, batch_share: float = 1.0) -> None:
        super().__init__()
        self.chunk = chunk
        self.embedding = Embedding(spec) if chunk.is_first else None
        self.layers = nn.ModuleDict(
            {
                str(layer): Block(spec, layer, batch_share)
                for layer in range(chunk.first_layer, chunk.first_layer + chunk.n_layers)
            }
        )
        has_norm = chunk.is_last and spec.final_norm
        self.norm = norm_of(spec, spec.hidden_size) if has_norm else nn.Identity()
        self.head = (
            nn.Linear(spec.hidden_size, spec.vocab_size, bias=spec.head_bias)
            if chunk.is_last
            else None
        )
        self.tied = spec.tied_embeddings
        if self.head is not None and self.embedding is not None and self.tied:
            self.head.weight = self.embedding.tokens.weight
        self.loss = Loss(batch_share)
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
        """Return the activations (B, T, D) for the next chunk, or the last one's share of the loss.

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
