"""The feed-forward network of a layer, and the activations that models use in it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from simulator.spec.model import ModelSpec


def _tanh_gelu(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _squared_relu(x: Tensor) -> Tensor:
    return functional.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu-tanh": _tanh_gelu,
    "relu": functional.relu,
    "relu2": _squared_relu,
}


class FeedForward(nn.Module):
    """Two matrices around an activation, or three (gated, SwiGLU)."""

    def __init__(self, spec: ModelSpec, inner_size: int) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[spec.activation]
        self.up = nn.Linear(spec.hidden_size, inner_size, bias=spec.ffn_bias)
        self.gate = (
            nn.Linear(spec.hidden_size, inner_size, bias=spec.ffn_bias) if spec.gated_ffn else None
        )
        self.down = nn.Linear(inner_size, spec.hidden_size, bias=spec.ffn_bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.gate is None:
            inner = self.activation(self.up(x_BTD))
        else:
            inner = self.activation(self.gate(x_BTD)) * self.up(x_BTD)
        out: Tensor = self.down(inner)
        return out
