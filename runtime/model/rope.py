"""Rotary positions: which angle each position turns each pair of a head's coordinates by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simulator.spec.model import ModelSpec, RopeScaling

Tables = tuple[Tensor, Tensor]
"""Cosines and sines of shape (T, 1, rotated width), for rotating halves (GPT-NeoX order)."""

Positions = Callable[[int, torch.device], Tensor]
"""From the number of tokens here to their places in the sequence, (T,)."""


def consecutive(n_tokens: int, device: torch.device) -> Tensor:
    """Return the positions of a whole sequence."""
    return torch.arange(n_tokens, device=device)


@dataclass(frozen=True, slots=True)
class Rope:
    """The rotary positions of one model."""

    spec: ModelSpec

    def frequencies(self, device: torch.device | None = None) -> Tensor:
        """Return the angle per position of each rotated pair, in radians."""
        mla = self.spec.mla
        width = mla.qk_rope_head_dim if mla else int(self.spec.head_dim * self.spec.rope_fraction)
        half = torch.arange(0, width, 2, device=device, dtype=torch.float32) / width
        frequencies = self.spec.rope_base**-half
        scaling = self.spec.rope_scaling
        return frequencies if scaling is None else _SCALED[scaling.kind](frequencies, scaling)

    def tables(self, positions_T: Tensor) -> Tables:
        """Return cosines and sines of some positions."""
        angles_TK = torch.outer(positions_T.float(), self.frequencies(positions_T.device)).repeat(
            1, 2
        )
        return angles_TK.cos().unsqueeze(1), angles_TK.sin().unsqueeze(1)


def _linear(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    return frequencies / scaling.factor


def _llama3(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Stretch long wavelengths by the factor, keep short ones, and go smoothly between them."""
    turns = scaling.original_positions * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return kept * frequencies + (1 - kept) * frequencies / scaling.factor


_SCALED = {"linear": _linear, "llama3": _llama3}


def rotate(x_BTHK: Tensor, tables: Tables) -> Tensor:
    """Turn every pair of a head's coordinates by its position's angle; the rest stays.

    References: Su et al. 2021, arXiv:2104.09864, equation 34.
    """
    cos, sin = tables
    width = cos.shape[-1]
    rotated, kept = x_BTHK[..., :width].float(), x_BTHK[..., width:]
    low, high = rotated.chunk(2, dim=-1)
    turned = torch.cat((-high, low), dim=-1)
    return torch.cat(((rotated * cos + turned * sin).to(x_BTHK.dtype), kept), dim=-1)
