"""Initial weights that depend on the seed and the parameter's name, and on nothing else.

Whichever rank builds whichever chunk, a parameter starts with the same values, so that a run under
any plan is the same run.
"""

from __future__ import annotations

import hashlib
import math

import torch

from runtime.model.transformer import Transformer
from simulator.spec.model import ModelSpec

INTO_RESIDUAL = (
    *("attention.wo.weight", "ffn.down.weight"),
    *("ffn.experts.down", "ffn.shared.down.weight"),
)
"""How the names of projections into the residual stream end."""


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@torch.no_grad()
def initialize(model: Transformer, spec: ModelSpec, seed: int) -> None:
    """Fill every parameter: matrices normal, norms one, biases zero.

    Projections back into the residual stream are scaled by 1/sqrt(2 x layers), as GPT-2 does
    (Radford et al. 2019, section 2.3).
    """
    for name, parameter in model.named_weights():
        if parameter.dim() == 1:
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
            continue
        scale = 1 / math.sqrt(2 * spec.n_layers) if name.endswith(INTO_RESIDUAL) else 1.0
        values = torch.empty(parameter.shape, dtype=torch.float32)
        values.normal_(0.0, spec.init_std * scale, generator=_generator(seed, name))
        parameter.copy_(values)
